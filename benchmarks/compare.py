"""The same text work through this package, mlx-lm and mlx-vlm, taking turns in one run: ratios with their spread.

python -m benchmarks.compare [--folder FOLDER] [-p 512,2048] [-n 64] [-r 5] [--kv-bits N] [--mlx-vlm-python PYTHON]
                             [--output FILE]

Each engine is a process of its own that loads once and computes each prompt from nothing, so decoding is timed behind a
prompt that was really read. A ratio is this package's figure over the peer's in the same round: below 1 is better. The
default checkpoint is random and narrow, so that what is compared is mostly overhead; give a folder for anything else.

What else there is to compare has a benchmark of its own: benchmarks.startup (process start to first token, with
--mlx-vlm-python), benchmarks.media (decoding files, likewise), benchmarks.decode_step (building a step's graph, and its
kernels, against mlx-lm).
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.random_checkpoint import write_checkpoint
from benchmarks.shapes import tiny_config

OURS = "gemma4_mlx"
WORKER = Path(__file__).with_name("peers.py")
NARROW = {"hidden_size": 256, "intermediate_size": 512, "sliding_window": 256, "max_position_embeddings": 1 << 17}

Rounds = dict[str, dict[str, list[float]]]
"""Figures by test and engine, one a round."""


@contextmanager
def served(command: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    """An engine's process, ended with the block."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            if process.stdin is not None:
                process.stdin.close()
            process.wait()


def answer(process: subprocess.Popen[str]) -> dict[str, float]:
    """The next line of an engine's answers."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise SystemExit(f"{' '.join(map(str, process.args))}: ended without an answer")  # type: ignore[arg-type]
    found: dict[str, float] = json.loads(line)
    return found


def ask(process: subprocess.Popen[str], prompt: int, reply: int) -> dict[str, float]:
    """One prompt and one reply."""
    assert process.stdin is not None
    print(json.dumps({"prompt": prompt, "reply": reply}), file=process.stdin, flush=True)
    return answer(process)


def starts(commands: Mapping[str, Sequence[str]], repeats: int) -> Rounds:
    """From process start to weights in memory, and the part of it that is importing and loading."""
    rounds: Rounds = {"import and load": {}, "start to loaded": {}}
    for _ in range(repeats + 1):
        for engine, command in commands.items():
            started = time.perf_counter()
            with served(command) as process:
                load = answer(process)["load_s"]
                ready = time.perf_counter() - started
            rounds["import and load"].setdefault(engine, []).append(load)
            rounds["start to loaded"].setdefault(engine, []).append(ready)
    return {test: {engine: values[1:] for engine, values in found.items()} for test, found in rounds.items()}


def replies(commands: Mapping[str, Sequence[str]], prompts: Sequence[int], reply: int, repeats: int) -> Rounds:
    """All that is measured of each prompt's length; the first round only warms up."""
    rounds: Rounds = {}
    with ExitStack() as stack:
        processes = {engine: stack.enter_context(served(command)) for engine, command in commands.items()}
        for process in processes.values():
            answer(process)
        for prompt in prompts:
            for round in range(repeats + 1):
                for engine, process in processes.items():
                    figures = ask(process, prompt, reply)
                    for test, value in figures.items() if round else ():
                        rounds.setdefault(named(test, prompt, reply), {}).setdefault(engine, []).append(value)
    return rounds


def named(test: str, prompt: int, reply: int) -> str:
    """As the table has it."""
    names = {"prefill_s": f"pp{prompt}", "decode_s": f"tg{reply} @ d{prompt}"}
    return names.get(test) or {"kv_bytes": "caches", "peak_bytes": "peak memory"}[test] + f" @ d{prompt}"


def table(rounds: Rounds) -> str:
    """Medians, and the medians of the ratios with the lowest and highest."""
    peers = [engine for engine in next(iter(rounds.values())) if engine != OURS]
    columns = ["test", OURS, *(column for peer in peers for column in (peer, "ratio"))]
    lines = [columns, ["---"] * len(columns)]
    for test, figures in rounds.items():
        line = [test, written(test, statistics.median(figures[OURS]))]
        for peer in peers:
            ratios = [mine / theirs for mine, theirs in zip(figures[OURS], figures[peer], strict=True)]
            spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
            line += [written(test, statistics.median(figures[peer])), spread]
        lines.append(line)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def written(test: str, value: float) -> str:
    """A figure with its unit."""
    return f"{value / 1e6:.2f} MB" if test.startswith(("caches", "peak")) else f"{value:.3f} s"


def main() -> None:
    """Prints the table; with --output also writes every figure."""
    parser = argparse.ArgumentParser(description="Compare with mlx-lm and mlx-vlm.")
    parser.add_argument("--folder", type=Path, help="a checkpoint (default: a random narrow one)")
    parser.add_argument("-p", default="512,2048", help="lengths of prompts")
    parser.add_argument("-n", type=int, default=64, help="tokens of reply")
    parser.add_argument("-r", type=int, default=5, help="rounds")
    parser.add_argument("--kv-bits", type=int, choices=(4, 8), help="of this package's caches only")
    parser.add_argument("--mlx-vlm-python", help="interpreter of an environment with mlx-vlm")
    parser.add_argument("--output", type=Path, help="JSON file for every figure")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or write_checkpoint(Path(temporary) / "narrow", tiny_config(**NARROW), dtype="float32")
        commands = engine_commands(folder, args.kv_bits, args.mlx_vlm_python)
        rounds = starts(commands, args.r) | replies(commands, [int(part) for part in args.p.split(",")], args.n, args.r)
    print(table(rounds))
    if args.output:
        args.output.write_text(json.dumps({"date": datetime.now(UTC).isoformat(), "rounds": rounds}, indent=1))


def engine_commands(folder: Path, kv_bits: int | None, mlx_vlm_python: str | None) -> dict[str, list[str]]:
    """The engines that are there, this package first."""
    bits = [] if kv_bits is None else ["--kv-bits", str(kv_bits)]
    commands = {OURS: [sys.executable, str(WORKER), OURS, str(folder), *bits]}
    commands["mlx-lm"] = [sys.executable, str(WORKER), "mlx-lm", str(folder)]
    if mlx_vlm_python:
        commands["mlx-vlm"] = [mlx_vlm_python, str(WORKER), "mlx-vlm", str(folder)]
    return commands


if __name__ == "__main__":
    main()
