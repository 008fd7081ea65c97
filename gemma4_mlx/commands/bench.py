"""`python -m gemma4_mlx.bench`: how fast a checkpoint is on this machine, in llama-bench's manner."""

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from gemma4_mlx.commands.common import EXIT_INTERRUPTED, add_debug, run
from gemma4_mlx.commands.options import DEFAULT_MODEL, choice_named, given_drafter
from gemma4_mlx.commands.terminal import Terminal
from gemma4_mlx.commands.use import chosen, remember_use
from gemma4_mlx.errors import GemmaError, UsageError

if TYPE_CHECKING:
    from gemma4_mlx.config import ModelConfig
    from gemma4_mlx.measure.chips import Limits
    from gemma4_mlx.measure.report import Report
    from gemma4_mlx.measure.run import Subject
    from gemma4_mlx.measure.speed import Job, Setup
    from gemma4_mlx.model.drafter import Drafter

LONG_RUN = 30
"""Seconds from which on an estimate is printed first."""

PUBLISHED = "Gemma 4 12B"
ROOFLINE_CONTEXTS = (1024, 32768, 131072)
NANO_NOTICE = (
    "nano, the built-in demonstration model, is measured: its speed says nothing of Gemma 4's. "
    "For Gemma 4 itself: --model mlx-community/gemma-4-12B-it-4bit"
)


PROG = "gemma4_mlx.bench"


def main(argv: Sequence[str] | None = None, prog: str = PROG) -> int:
    """Run the command, called `prog` in what it says of itself; return its exit code."""
    return run(bench, make_parser(prog), argv)


def make_parser(prog: str = PROG) -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(prog=prog, description="Measure Gemma 4 12B Unified on this machine.")
    parser.add_argument("--model", "-m", help=f"folder, Hub or Kaggle name or address, or nano ({DEFAULT_MODEL})")
    parser.add_argument("--revision", help="branch, tag or commit of a Hub repository")
    parser.add_argument("--offline", action="store_true", help="use only what is downloaded already")
    what = parser.add_argument_group("what to measure")
    what.add_argument("-p", type=_numbers, default=(512,), metavar="N,...", help="prompt tokens (512; 0: none)")
    what.add_argument("-n", type=_numbers, default=(128,), metavar="N,...", help="reply tokens (128; 0: none)")
    what.add_argument(
        "-d", type=_numbers, metavar="N,...", help="tokens in the caches before (0); rows of noise, not computed"
    )
    what.add_argument("-r", type=int, default=5, metavar="N", help="repetitions, after one to warm up (5)")
    what.add_argument("--no-first-token", action="store_true", help="leave out the time to the first token by media")
    what.add_argument("--drafting", action="store_true", help="also a reply with guesses ahead: tokens a pass")
    what.add_argument("--draft-model", metavar="PATH", help="the same, guessed by this drafter")
    what.add_argument("--kv-bits", type=int, choices=(4, 8), help="quantize the caches")
    what.add_argument("--prefill-step-size", type=int, default=512, help="tokens of prompt read at once (512)")
    what.add_argument(
        "--roofline", action="store_true", help="bounds for Apple's chips and for this machine; only these with -r 0"
    )
    what.add_argument("--no-wire", action="store_true", help="on a Mac, let macOS swap memory at any time")
    output = parser.add_argument_group("output")
    output.add_argument("-o", choices=("md", "csv", "json"), default="md", help="format on stdout (md)")
    output.add_argument("--plot", type=Path, metavar="FILE", help="also draw a picture: speed, memory, first token")
    add_debug(output)
    return parser


def bench(args: argparse.Namespace) -> int:
    """Checks, loads, measures, prints. Ctrl-C prints the rows that are done."""
    check_usage(args)
    check_plot(args)
    drafter, choice = given_drafter(args), chosen(args.model)
    folder, config = find_model(args, choice.name)
    remember_use(choice.name, args.revision)
    if args.roofline and args.o == "md":
        print(roofline_tables(args, *((choice.name, config) if choice.named_by else ())), flush=True)
    if args.r == 0:
        return 0
    if not choice.named_by:
        print(NANO_NOTICE, file=sys.stderr)
    return measure(args, choice.name, folder, drafter)


def check_usage(args: argparse.Namespace) -> None:
    """Raises UsageError for what can be told before anything is loaded."""
    if args.r < 0 or args.prefill_step_size < 1:
        raise UsageError("-r must be from 0 up and --prefill-step-size from 1 up")
    if args.r == 0 and not (args.roofline and args.o == "md" and not args.plot):
        raise UsageError("-r 0 measures nothing: it goes with --roofline, which prints Markdown only")
    if args.r and not max(*args.p, *args.n):
        raise UsageError("-p 0 and -n 0 leave nothing to measure: give one of them a number of tokens")
    if (args.drafting or args.draft_model) and not max(args.n):
        raise UsageError("drafting is measured in a reply, and -n 0 asks for none")


def check_plot(args: argparse.Namespace) -> None:
    """Raise GemmaError for a picture that can't be written: before a long run."""
    if args.plot:
        from gemma4_mlx.measure.plot import check_picture

        args.plot = args.plot.expanduser()
        check_picture(args.plot)


def find_model(args: argparse.Namespace, name: str) -> "tuple[Path, ModelConfig]":
    """The folder of the model, and its configuration. Raise GemmaError if it can't be read: before a long run."""
    from gemma4_mlx.checkpoint.hub import resolve
    from gemma4_mlx.config import ModelConfig

    with choice_named(args):
        folder = resolve(name, revision=args.revision, offline=args.offline)
        return folder, ModelConfig.from_folder(folder)


def roofline_tables(args: argparse.Namespace, name: str = PUBLISHED, config: "ModelConfig | None" = None) -> str:
    """Bounds of a checkpoint's configuration, by default of the published one."""
    from gemma4_mlx.measure.roofline import tables
    from gemma4_mlx.measure.shapes import published_config

    counted = tables(config or published_config(), args.d or ROOFLINE_CONTEXTS)
    return f"{name} on Apple's chips. {counted}\n"


def measure(args: argparse.Namespace, name: str, folder: Path, drafter: "Drafter | None") -> int:
    """Loads the checkpoint, makes the rows and prints them."""
    from gemma4_mlx.device_errors import device_errors_named
    from gemma4_mlx.engine.memory import wired
    from gemma4_mlx.measure.chips import machine_limits
    from gemma4_mlx.measure.machine import this_machine
    from gemma4_mlx.measure.report import Report
    from gemma4_mlx.measure.run import load_subject
    from gemma4_mlx.measure.speed import Setup

    terminal = Terminal(show_thought=False)
    machine, setup, jobs = this_machine(), Setup(args.kv_bits, args.prefill_step_size), job_list(args)
    terminal.status("loading the model")
    with choice_named(args):
        subject = load_subject(folder, name, setup, jobs)
    if drafter is not None:
        drafter.check(subject.model)
    limits = machine_limits(machine.chip, subject.dtype) if args.roofline else None
    started = datetime.now(UTC).isoformat(timespec="seconds")
    report = Report(machine, subject.checkpoint, started, limits=None if limits is None else limits.source)
    try:
        with device_errors_named(), wired(subject.plan, not args.no_wire):
            code = add_rows(args, subject, report, jobs, setup, terminal, limits, drafter)
    except GemmaError:
        if report.rows:
            print(report.text(args.o), flush=True)
        raise
    print(report.text(args.o), flush=True)
    if args.plot:
        from gemma4_mlx.measure.plot import draw

        draw(report, subject.model.config.text, subject.dtype, args.plot)
    return code


def job_list(args: argparse.Namespace) -> "list[Job]":
    """Every length at every depth, the depths in order."""
    from gemma4_mlx.measure.speed import Job

    jobs = []
    for depth in args.d or (0,):
        jobs += [Job("pp", tokens, depth) for tokens in args.p if tokens]
        jobs += [Job("tg", tokens, depth) for tokens in args.n if tokens]
    return jobs


def add_rows(
    args: argparse.Namespace,
    subject: "Subject",
    report: "Report",
    jobs: "list[Job]",
    setup: "Setup",
    terminal: Terminal,
    limits: "Limits | None",
    drafter: "Drafter | None",
) -> int:
    """Measures; returns the exit code."""
    from gemma4_mlx.measure.drafting import drafting_rows
    from gemma4_mlx.measure.run import all_cases, estimate, first_token_rows, speed_rows

    drafted = max(args.n) if args.drafting or args.draft_model else 0
    asked = [] if args.no_first_token else all_cases(subject)
    try:
        terminal.status("estimating how long this takes")
        seconds = estimate(subject, jobs, asked, setup, args.r)
        terminal.clear()
        if seconds > LONG_RUN:
            print(f"this takes about {_duration(seconds)}; Ctrl-C prints what is done by then", file=sys.stderr)
        for row in speed_rows(subject, jobs, setup, args.r, limits, terminal.status):
            report.rows.append(row)
        for row in first_token_rows(subject, asked, setup, args.r, terminal.status):
            report.rows.append(row)
        if drafted:
            report.rows.extend(drafting_rows(subject, drafted, setup, args.r, drafter, terminal.status))
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    finally:
        terminal.clear()
    return 0


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 90 else f"{seconds / 60:.0f} minutes"


def _numbers(text: str) -> tuple[int, ...]:
    try:
        values = tuple(int(part) for part in text.split(","))
    except ValueError:
        values = ()
    if not values or min(values) < 0:
        raise argparse.ArgumentTypeError(f"whole numbers separated by commas are expected, not {text!r}")
    return values
