"""What one lazy graph from raw media to the first prefill chunk saves.

python -m benchmarks.projections [--repeats N]

Three ways to read the same prompt (256 patches, 10 s of sound, 60 tokens of text) into a random-weight model:

lazy      projections, splice and the first chunk are one graph, evaluated once
stages    each stage is evaluated before the next is built: text embeddings, projections, splice, chunk
apart     each modality goes through the decoder in a pass of its own, as separate encoders would have it
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import mlx.core as mx
import numpy as np

from benchmarks.random_checkpoint import tiny_config, write_checkpoint
from benchmarks.running import run_benchmark
from gemma4_mlx.checkpoint.load import load_model
from gemma4_mlx.engine.prefill import prefill
from gemma4_mlx.media.images import Patches
from gemma4_mlx.model.unified import Gemma4Unified
from gemma4_mlx.prompt.prompt import Prompt, Span

Evaluate = Callable[..., None]


def make_prompt(model: Gemma4Unified) -> Prompt:
    """Text, a picture, text, a sound, text."""
    rng = np.random.default_rng(0)
    tokens = model.config.tokens
    y, x = np.divmod(np.arange(256), 16)
    patches = Patches(rng.integers(0, 256, (256, 6912)).astype(np.uint8), np.stack([x, y], 1).astype(np.int32))
    sound = rng.normal(0, 0.1, (250, 640)).astype(np.float32)
    words = rng.integers(300, 500, 60).tolist()
    ids = [*words[:20], *[tokens.image] * 256, *words[20:40], *[tokens.audio] * 250, *words[40:]]
    return Prompt(ids, [Span("image", 20, patches), Span("audio", 296, sound)])


def lazy(model: Gemma4Unified, prompt: Prompt, evaluate: Evaluate) -> None:
    evaluate(prefill(model, prompt, model.make_caches(len(prompt.ids)), len(prompt.ids)))


def stages(model: Gemma4Unified, prompt: Prompt, evaluate: Evaluate) -> None:
    text = model.embed(prompt.ids, ())
    evaluate(text)
    pieces, position = [], 0
    for span in prompt.spans:
        rows = model.embed(prompt.ids[span.start : span.stop], [span], span.start)
        evaluate(rows)
        pieces += [text[:, position : span.start], rows]
        position = span.stop
    spliced = mx.concatenate([*pieces, text[:, position:]], axis=1)
    evaluate(spliced)
    evaluate(model.logits(model(spliced, model.make_caches(len(prompt.ids)), prompt.vision_blocks())[:, -1:]))


def apart(model: Gemma4Unified, prompt: Prompt, evaluate: Evaluate) -> None:
    caches = model.make_caches(len(prompt.ids))
    edges = [edge for span in prompt.spans for edge in (span.start, span.stop)] + [len(prompt.ids)]
    start = 0
    for edge in edges:
        spans = [span for span in prompt.spans if start <= span.start < edge]
        hidden = model(model.embed(prompt.ids[start:edge], spans, start), caches, prompt.vision_blocks())
        evaluate(model.logits(hidden[:, -1:]))
        start = edge


def measure(
    way: Callable[[Gemma4Unified, Prompt, Evaluate], None], model: Gemma4Unified, prompt: Prompt
) -> tuple[float, int, int]:
    """Seconds, peak bytes above the weights, and evaluations of one run."""
    evaluations = 0

    def evaluate(*arrays: mx.array) -> None:
        nonlocal evaluations
        evaluations += 1
        mx.eval(*arrays)

    mx.clear_cache()
    mx.reset_peak_memory()
    before, started = mx.get_active_memory(), time.perf_counter()
    way(model, prompt, evaluate)
    return time.perf_counter() - started, mx.get_peak_memory() - before, evaluations


def main() -> None:
    """Prints the table. The ways take turns, so that what else the machine does falls on all of them."""
    parser = argparse.ArgumentParser(description="Compare one lazy graph with evaluating stage by stage.")
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as folder:
        config = tiny_config(num_hidden_layers=24)
        model = load_model(write_checkpoint(Path(folder) / "checkpoint", config))
        mx.eval(model.parameters())
    prompt = make_prompt(model)
    ways = (lazy, stages, apart)
    rounds = [[measure(way, model, prompt) for way in ways] for _ in range(repeats + 1)][1:]
    runs = {way: [taken[index] for taken in rounds] for index, way in enumerate(ways)}
    base = statistics.median(run[0] for run in runs[lazy])
    print(f"{len(prompt.ids)} tokens, {repeats} repeats, {mx.default_device()}")
    print("| way | time, lazy = 1 | peak MB above weights | evaluations |\n|---|---|---|---|")
    for way in ways:
        times = [run[0] / base for run in runs[way]]
        _, peak, evaluations = runs[way][-1]
        spread = f"{min(times):.2f}-{max(times):.2f}"
        print(f"| {way.__name__} | {statistics.median(times):.2f} ({spread}) | {peak / 1e6:.1f} | {evaluations} |")


if __name__ == "__main__":
    run_benchmark(main, "half a minute")
