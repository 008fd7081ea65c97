"""Time and memory of a sliding and of a full layer with the 12B's widths against the depth at which they read.

python -m benchmarks.depth_curve [--depths N ...] [--chunk N] [--json FILE] [--plot FILE]

Two layers of each kind, float32, random weights; the caches are filled with random rows. Times are of this machine's
CPU: what carries over is how they grow. Transient memory is the peak of a chunk above weights and caches.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import mlx.core as mx

from benchmarks.running import run_benchmark
from gemma4_mlx.measure.fill import filled_caches, rewind
from gemma4_mlx.measure.random_model import random_model
from gemma4_mlx.measure.shapes import published_config
from gemma4_mlx.model.cache import Cache
from gemma4_mlx.model.unified import Gemma4Unified

KINDS = {"sliding": "SS", "full": "FF"}
LAYERS = 2


@dataclass(frozen=True, slots=True)
class Point:
    """One layer at one depth: seconds a token, written one by one and read as a chunk, and bytes of the chunk."""

    kind: str
    depth: int
    decode: float
    prefill: float
    transient: int


def seconds(model: Gemma4Unified, caches: Sequence[Cache], tokens: int, repeats: int) -> float:
    """Median time to read so many tokens behind what the caches hold."""
    depth, taken = caches[0].offset, []
    for _ in range(repeats):
        start = time.perf_counter()
        mx.eval(model(model.embed([300] * tokens), caches))
        taken.append(time.perf_counter() - start)
        rewind(caches, depth)
    return median(taken)


def measure(model: Gemma4Unified, kind: str, depth: int, chunk: int) -> Point:
    """One point of the curve."""
    caches = filled_caches(model, depth, chunk)
    seconds(model, caches, 1, 1)
    decode = seconds(model, caches, 1, 9)
    mx.clear_cache()
    held = mx.get_active_memory()
    mx.reset_peak_memory()
    prefill = seconds(model, caches, chunk, 1)
    transient = mx.get_peak_memory() - held
    return Point(kind, depth, decode / LAYERS, prefill / chunk / LAYERS, transient)


def plot(path: Path, points: Sequence[Point]) -> None:
    """Both kinds of layer, time a token against depth."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, what in zip(figure.subplots(1, 2), ("prefill", "decode"), strict=True):
        for kind in KINDS:
            these = [point for point in points if point.kind == kind]
            axes.plot(
                [p.depth for p in these], [1e3 * getattr(p, what) for p in these], marker="o", label=f"{kind} layer"
            )
        axes.set(xlabel="depth, tokens", ylabel="ms a token and layer (CPU)", title=what, ylim=(0, None))
        axes.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Prints a row for each kind of layer and depth."""
    parser = argparse.ArgumentParser(description="Measure layers against depth.")
    parser.add_argument("--depths", type=int, nargs="*", default=[4096, 32768, 65536, 131072, 196608, 261632])
    parser.add_argument("--chunk", type=int, default=512)
    parser.add_argument("--json", type=Path, help="write the points there")
    parser.add_argument("--plot", type=Path, help="draw a picture there (needs matplotlib)")
    args = parser.parse_args()
    mx.set_cache_limit(0)
    print("| layer | depth | prefill, ms a token | decode, ms a token | transient, MB |\n|---|---|---|---|---|")
    points = []
    for kind, layers in KINDS.items():
        config = published_config(layers, vocab=1024, context=max(args.depths) + args.chunk)
        model = random_model(config, mx.float32)
        for depth in args.depths:
            point = measure(model, kind, depth, args.chunk)
            points.append(point)
            figures = (1e3 * point.prefill, 1e3 * point.decode, point.transient / 1e6)
            print("| {} | {:,} | {:.2f} | {:.2f} | {:.0f} |".format(kind, depth, *figures), flush=True)
    if args.json:
        args.json.write_text(json.dumps([asdict(point) for point in points], indent=1) + "\n", encoding="utf-8")
    if args.plot:
        plot(args.plot, points)


if __name__ == "__main__":
    run_benchmark(main, "5 minutes")
