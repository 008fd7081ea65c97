"""Speed and memory at depths of one checkpoint, beside mlx-lm on the same weights.

python -m benchmarks.depth_speed CHECKPOINT [--depths 0,8192,...] [--read N] [--write N] [--engines NAME,...]

Each engine runs in a process of its own, on the device that MLX takes by default. Caches are filled with noise instead
of being computed; then N tokens of prompt are read behind it and M written, greedily and without drafts. A line of JSON
comes out for each engine and depth; one that fails says why.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlx.core as mx

from benchmarks.running import run_benchmark

PIECE = 4096
"""Positions that are filled at once."""

TOKEN = 300
"""Read again and again; every vocabulary here has it."""

DEPTHS = "0,8192,32768,131072,262144"
Filled = tuple[Callable[[list[int], int], Iterator[Any]], Callable[[], list[mx.array]]]
"""What reads ids behind the filled caches and writes a reply, and what gives the arrays of the caches."""


def ours(folder: Path) -> Callable[[int, int], Filled]:
    """This package."""
    from gemma4_mlx.checkpoint.load import load_model
    from gemma4_mlx.engine.prefill import read_hidden
    from gemma4_mlx.measure.fill import filled_caches
    from gemma4_mlx.measure.speed import unguessed
    from gemma4_mlx.model.cache import cache_arrays
    from gemma4_mlx.prompt.prompt import Prompt

    model = load_model(folder)

    def fill(depth: int, room: int) -> Filled:
        caches = filled_caches(model, depth, room)

        def reply(ids: list[int], count: int) -> Iterator[int]:
            hidden = read_hidden(model, Prompt([0] * depth + ids), caches, 512)
            return unguessed(model, caches, hidden, count)

        return reply, lambda: cache_arrays(caches)

    return fill


def mlx_lm(folder: Path) -> Callable[[int, int], Filled]:
    """mlx-lm, whose caches get rows of the shapes that a first token leaves there."""
    from mlx_lm.generate import generate_step
    from mlx_lm.models.cache import make_prompt_cache
    from mlx_lm.utils import load

    from benchmarks.engines import buffers, vocabulary_of

    model, *_ = load(str(folder), model_config={"vocab_size": vocabulary_of(folder)})

    def fill(depth: int, room: int) -> Filled:
        del room
        caches = make_prompt_cache(model)
        if depth:
            mx.eval(model(mx.array([[TOKEN]]), cache=caches))
        for cache in caches if depth else ():
            for start in range(1, depth, PIECE):
                count = min(PIECE, depth - start)
                rows = (
                    mx.random.normal((*part.shape[:2], count, part.shape[3]), part.dtype)
                    for part in (cache.keys, cache.values)
                )
                mx.eval(cache.update_and_fetch(*rows))
        mx.clear_cache()

        def reply(ids: list[int], count: int) -> Iterator[Any]:
            return generate_step(mx.array(ids), model, max_tokens=count, prompt_cache=caches, prefill_step_size=512)

        return reply, lambda: buffers(caches)

    return fill


ENGINES = {"gemma4_mlx": ours, "mlx-lm": mlx_lm}


def measure(fill: Callable[[int, int], Filled], depth: int, read: int, write: int) -> dict[str, Any]:
    """Tokens a second of reading and writing at a depth, and bytes: of the caches, and the peak of both."""
    ids = [TOKEN] * read
    reply, arrays = fill(depth, 2 * (read + write + 2))
    for _ in reply(ids, 4):  # kernels compile
        pass
    held = sum(array.nbytes for array in arrays())
    del reply, arrays
    reply, _ = fill(depth, read + write + 2)
    mx.reset_peak_memory()
    started = time.perf_counter()
    tokens = reply(ids, write + 1)
    next(tokens)
    first = time.perf_counter()
    written = sum(1 for _ in tokens)
    finished = time.perf_counter()
    figures = {"read_tps": read / (first - started), "write_tps": written / (finished - first)}
    return {"depth": depth, **figures, "caches": held, "peak": mx.get_peak_memory()}


def run_engine(name: str, args: argparse.Namespace) -> None:
    """Prints a row for each depth."""
    fill = ENGINES[name](args.checkpoint)
    device = mx.device_info().get("device_name", "CPU")
    for depth in map(int, args.depths.split(",")):
        room = min(args.read + 2 * args.write + 8, 1 << 18)
        try:
            row = measure(fill, max(0, min(depth, (1 << 18) - room)), args.read, args.write)
        except Exception as error:  # whatever an engine raises is its result
            row = {"depth": depth, "failed": f"{type(error).__name__}: {error}"[:200]}
        print(json.dumps({"engine": name, "device": device, **row}), flush=True)
        mx.clear_cache()


def main() -> None:
    """Runs the engines one after another."""
    parser = argparse.ArgumentParser(description="Measure speed and memory at depths, beside mlx-lm.")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--depths", default=DEPTHS, help="positions in the caches before")
    parser.add_argument("--read", type=int, default=512, help="prompt tokens that are read behind them")
    parser.add_argument("--write", type=int, default=64, help="tokens that are written")
    parser.add_argument("--engines", default=",".join(ENGINES))
    parser.add_argument("--engine", choices=ENGINES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.engine is not None:
        run_engine(args.engine, args)
        return
    for name in args.engines.split(","):
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.depth_speed", *sys.argv[1:], "--engine", name], check=False
        )
        if done.returncode:
            print(json.dumps({"engine": name, "failed": f"exit code {done.returncode}"}), flush=True)


if __name__ == "__main__":
    run_benchmark(main, "hours on a CPU, minutes on a GPU")
