"""One decode step of a 48-layer narrow model, where overhead is everything, here and in mlx-lm, in one run.

python -m benchmarks.decode_step [--layers N] [--steps N] [--repeats N]

Prints time to build the step's graph in Python, time of the whole step, and kernel launches. Launches are counted as a
GPU would make them, whatever the backend: each `mx.fast` call is one, each compiled function is one, views are none.
"""

import argparse
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import mlx.core as mx

from benchmarks.random_checkpoint import write_checkpoint
from benchmarks.shapes import tiny_config
from gemma4_mlx.checkpoint.load import load_model
from gemma4_mlx.config import ModelConfig
from gemma4_mlx.engine.decode import step

NARROW = {"hidden_size": 64, "intermediate_size": 128, "sliding_window": 64, "max_position_embeddings": 4096}
PROMPT = 100
VIEWS = {
    *("AsStrided", "Broadcast", "BroadcastAxes", "ExpandDims", "Flatten", "Reshape", "Slice", "Split", "Squeeze"),
    *("StopGradient", "Transpose", "Unflatten"),
}
FAST = ("layer_norm", "rms_norm", "rope", "scaled_dot_product_attention")

Step = Callable[[mx.array], tuple[mx.array, list[mx.array]]]
"""Takes a token `(1,)`; returns logits and the arrays of the caches, all lazy."""


def ours(folder: Path) -> Step:
    """A step of this package."""
    model = load_model(folder)
    caches = model.make_caches(PROMPT + 4000)
    mx.eval(model(model.embed([300] * PROMPT), caches))

    def run(token: mx.array) -> tuple[mx.array, list[mx.array]]:
        return step(model, caches, token), [array for cache in caches for array in cache.arrays()]

    return run


def mlx_lm(folder: Path) -> Step:
    """A step of mlx-lm."""
    from mlx_lm.utils import load_model as load

    vocabulary = ModelConfig.from_folder(folder).text.vocab_size  # it looks for it at the top level
    model, _ = load(folder, model_config={"vocab_size": vocabulary})
    caches = model.make_cache()
    mx.eval(model(mx.array([[300] * PROMPT]), cache=caches))

    def run(token: mx.array) -> tuple[mx.array, list[mx.array]]:
        logits = model(token[None], cache=caches)[:, -1]
        return logits, [array for cache in caches for array in (cache.keys, cache.values)]

    return run


def build_and_run(run: Step, steps: int) -> tuple[float, float]:
    """Seconds of this thread's work to build a step, and of a whole step: the median of a few."""
    built, whole = [], []
    token = mx.array([300])
    for _ in range(steps):
        start, busy = time.perf_counter(), time.thread_time()
        logits, caches = run(token)
        built.append(time.thread_time() - busy)
        token = mx.argmax(logits, axis=-1)
        mx.eval(token, caches)
        whole.append(time.perf_counter() - start)
    return median(built), median(whole)


def count_launches(run: Step) -> int:
    """Kernels of one step."""
    with fast_calls_counted() as calls, tempfile.NamedTemporaryFile("r", suffix=".dot") as file:
        logits, caches = run(mx.array([300]))
        mx.export_to_dot(file.name, logits, *caches)
        names = re.findall(r'label\s*=\s*"([A-Za-z]+)', file.read())
    return len(calls) + sum(name not in VIEWS for name in names)


@contextmanager
def fast_calls_counted() -> Iterator[list[str]]:
    """Replaces the `mx.fast` functions by ones that only take a note and hand their first argument on."""
    calls: list[str] = []
    originals = {name: getattr(mx.fast, name) for name in FAST}

    def stand_in(name: str) -> Callable[..., mx.array]:
        def noted(x: mx.array, *_: Any, **__: Any) -> mx.array:
            calls.append(name)
            return x

        return noted

    try:
        for name in FAST:
            setattr(mx.fast, name, stand_in(name))
        yield calls
    finally:
        for name, function in originals.items():
            setattr(mx.fast, name, function)


def main() -> None:
    """Prints one row for each engine, and the ratios."""
    parser = argparse.ArgumentParser(description="Measure one decode step.")
    parser.add_argument("--layers", type=int, default=48)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=5, help="alternations of the two engines")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = write_checkpoint(Path(folder) / "narrow", tiny_config(num_hidden_layers=args.layers, **NARROW))
        engines = {"gemma4_mlx": ours(checkpoint), "mlx-lm": mlx_lm(checkpoint)}
    timed: dict[str, list[tuple[float, float]]] = {name: [] for name in engines}
    for _ in range(args.repeats):
        for name, run in engines.items():
            timed[name].append(build_and_run(run, args.steps))
    print("| | graph, ms | step, ms | launches |\n|---|---|---|---|")
    figures = {}
    for name, run in engines.items():
        built, whole = (median(values) for values in zip(*timed[name], strict=True))
        figures[name] = (built * 1e3, whole * 1e3, count_launches(run))
        print("| {} | {:.2f} | {:.2f} | {} |".format(name, *figures[name]))
    ratios = (mine / theirs for mine, theirs in zip(figures["gemma4_mlx"], figures["mlx-lm"], strict=True))
    print("| ratio | {:.2f} | {:.2f} | {:.2f} |".format(*ratios))


if __name__ == "__main__":
    main()
