"""`python -m gemma4_mlx.doctor`: does this machine compute what it should? A report to paste into an issue."""

import argparse
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from gemma4_mlx.commands.common import EXIT_FAILED, add_debug, explained, run
from gemma4_mlx.commands.terminal import Terminal

if TYPE_CHECKING:
    from gemma4_mlx.measure.checks import Check

SHOWN_CONTEXT = 8192


PROG = "gemma4_mlx.doctor"


def main(argv: Sequence[str] | None = None, prog: str = PROG) -> int:
    """Run the command, called `prog` in what it says of itself; return its exit code."""
    return run(examine, make_parser(prog), argv)


def make_parser(prog: str = PROG) -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Compare single kernels with float64, and every way of reading a prompt, on the GPU if there is "
        "one, with one pass on the CPU; ask the built-in model; print a report. Exit code 1 if anything differs.",
    )
    add_debug(parser)
    return parser


def examine(args: argparse.Namespace) -> int:
    """Prints the machine first, then each check as it is done, in Markdown."""
    del args
    terminal = Terminal(show_thought=False)
    print(*machine_lines(), "", sep="\n", flush=True)
    print("| check | on | found | expected | |\n| --- | --- | --- | --- | --- |", flush=True)
    done: list[Check] = []
    for check in checks(terminal):
        terminal.clear()
        verdict = "agrees" if check.agrees else "**differs**"
        print(f"| {check.name} | {check.device} | {check.found} | {check.allowed} | {verdict} |", flush=True)
        terminal.status(f"{len(done) + 1} checks done")
        done.append(check)
    terminal.clear()
    print("", *findings(done, terminal), sep="\n", flush=True)
    wrong = [check.agrees for check in done].count(False)
    print(f"\n{len(done)} checks: {f'**{wrong} differ**' if wrong else 'all agree'}")
    return EXIT_FAILED if wrong else 0


def machine_lines() -> Iterator[str]:
    """The machine, the versions, and what of the 12B fits."""
    from gemma4_mlx.measure.machine import this_machine, wired_limit_megabytes
    from gemma4_mlx.measure.power import power_line

    machine = this_machine()
    yield "# gemma4_mlx doctor"
    yield f"- machine: {machine.chip}, {machine.memory / 1e9:.1f} GB, {machine.system}, on the {machine.device}"
    yield f"- software: gemma4_mlx {machine.package}, MLX {machine.mlx}, Python {machine.python}"
    if machine.system.startswith("macOS"):
        yield f"- {power_line()}"
    if machine.working_set and machine.largest_buffer:
        yield f"- GPU: recommended working set {machine.working_set / 1e9:.2f} GB, largest array " + (
            f"{machine.largest_buffer / 1e9:.2f} GB, iogpu.wired_limit_mb {wired_limit_megabytes() or 'unknown'}"
        )
    yield from fitting_lines()
    if machine.device == "cpu":
        yield "- no GPU: paths are compared with each other on the CPU only"


def fitting_lines() -> Iterator[str]:
    """How long a context of the 12B fits, as planned and not tried."""
    from gemma4_mlx.engine.memory import budget
    from gemma4_mlx.engine.plan import Need
    from gemma4_mlx.measure.shapes import published_config, stored_bytes

    config, limit = published_config(), budget().limit
    for bits in (4, 8):
        need = Need(
            config=config, weights=stored_bytes(config, bits), itemsize=2, chunk=512, kv_group_size=64, limit=limit
        )
        contexts = [f"{need.longest(kv_bits):,} with {kv_bits or 16}-bit caches" for kv_bits in (None, 8, 4)]
        total = need.plan(SHOWN_CONTEXT, None).total
        yield (
            f"- planned for the 12B with {bits} bits: {total / 1e9:.1f} GB at {SHOWN_CONTEXT:,} tokens of "
            f"{limit / 1e9:.1f} GB that may be used; longest context {', '.join(contexts)}"
        )


def findings(done: "Sequence[Check]", terminal: Terminal) -> Iterator[str]:
    """What the checks come to, and how fast larger steps are."""
    from gemma4_mlx.measure.kernels import verdict
    from gemma4_mlx.measure.steps import measured_steps, steps_line

    yield f"- {verdict(done)}"
    try:
        line = steps_line(*measured_steps(terminal.status))
    except Exception as error:  # on a machine that nobody has tried
        line = f"prefill step: not measured, {explained(error)}"
    terminal.clear()
    yield f"- {line}"


def checks(terminal: Terminal) -> "Iterator[Check]":
    """Everything that is compared and asked."""
    from gemma4_mlx.measure.checks import compare, questions_answered, trials
    from gemma4_mlx.measure.kernels import kernel_checks

    terminal.status("comparing kernels with float64")
    yield from kernel_checks()
    for trial in trials():
        terminal.status(f"comparing: {trial.name}")
        yield from compare(trial)
    terminal.status("asking the built-in model")
    yield from questions_answered()
