"""One decode step of a 48-layer narrow model, where overhead is everything, here and in mlx-lm, in one run.

python -m benchmarks.decode_step [--layers N] [--steps N] [--repeats N]

Prints time to build the step's graph in Python, time of the whole step, time to build the graph as it is for a GPU, and
kernel launches as a GPU would make them. The backend of a CPU takes `mx.fast` functions apart while the graph is built,
a GPU has a kernel for each: for the last two columns they are replaced by functions of one kernel that nothing is fused
with. Views are no launches, each array that is concatenated is one.
"""

import argparse
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import mlx.core as mx

from benchmarks.engines import ENGINES, Step, step_seconds
from benchmarks.random_checkpoint import write_checkpoint
from benchmarks.running import run_benchmark
from benchmarks.shapes import tiny_config

NARROW = {"hidden_size": 64, "intermediate_size": 128, "sliding_window": 64, "max_position_embeddings": 4096}
PROMPT = 100
VIEWS = """
AsStrided Broadcast BroadcastAxes Depends ExpandDims Flatten Reshape Slice Split Squeeze StopGradient Transpose
Unflatten
"""
FUSED = ("layer_norm", "rms_norm", "rope", "scaled_dot_product_attention")
FULL_HEAD = 32
"""Size of a full layer's heads, which stand for heads of 512. Metal has no kernel for attention of such queries."""


def stepper(engine: str, folder: Path) -> Step:
    """An engine's step behind a prompt."""
    run = ENGINES[engine](folder).stepper(PROMPT + 4000)
    mx.eval(run(mx.array([300] * PROMPT)))
    return run


def count_launches(run: Step) -> int:
    """Kernels of one step."""
    with as_on_a_gpu(), tempfile.NamedTemporaryFile("r", suffix=".dot") as file:
        logits, caches = run(mx.array([300]))
        mx.export_to_dot(file.name, logits, *caches)
        graph = file.read()
    # A primitive of a compiled function stands in the graph as often as the function was called.
    primitives = re.findall(r'(\d+) \[label\s*=\s*"([A-Za-z]+)', graph)
    joined = {key for key, name in primitives if name == "Concatenate"}
    pieces = sum(key in joined for key in re.findall(r'" -> (\d+)', graph))
    return pieces + sum(name not in VIEWS.split() for key, name in primitives if key not in joined)


@contextmanager
def as_on_a_gpu() -> Iterator[None]:
    """Replaces the `mx.fast` functions; their results are wrong then. What was compiled is traced anew, as in each
    stream, and not used again."""
    originals = {name: getattr(mx.fast, name) for name in FUSED}

    def stand_in(name: str) -> Callable[..., mx.array]:
        def one_kernel(x: mx.array, *others: Any, offset: Any = None, **options: Any) -> mx.array:
            if name == "scaled_dot_product_attention" and x.shape[-1] == FULL_HEAD:
                return originals[name](x, *others, **options)
            # What computes an offset is part of the step.
            return mx.depends(mx.sort(x), offset) if isinstance(offset, mx.array) else mx.sort(x)

        return one_kernel

    try:
        for name in FUSED:
            setattr(mx.fast, name, stand_in(name))
        with mx.stream(mx.new_stream(mx.default_device())):
            yield
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
        engines = {name: stepper(name, checkpoint) for name in ("gemma4_mlx", "mlx-lm")}
    timed: dict[str, list[tuple[float, float, float]]] = {name: [] for name in engines}
    for _ in range(args.repeats):
        for name, run in engines.items():
            built, whole = step_seconds(run, args.steps)
            with as_on_a_gpu():
                built_for_gpu, _ = step_seconds(run, args.steps)
            timed[name].append((built * 1e3, whole * 1e3, built_for_gpu * 1e3))
    print("| | graph, ms | step, ms | graph for a GPU, ms | launches |\n|---|---|---|---|---|")
    figures = {}
    for name, run in engines.items():
        figures[name] = (*map(median, zip(*timed[name], strict=True)), count_launches(run))
        print("| {} | {:.2f} | {:.2f} | {:.2f} | {} |".format(name, *figures[name]))
    ratios = (mine / theirs for mine, theirs in zip(figures["gemma4_mlx"], figures["mlx-lm"], strict=True))
    print("| ratio | {:.2f} | {:.2f} | {:.2f} | {:.2f} |".format(*ratios))


if __name__ == "__main__":
    run_benchmark(main, "a minute")
