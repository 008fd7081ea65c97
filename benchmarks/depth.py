"""Memory at full depth, measured: the checkpoint loaded, caches filled, a step of prefill and a few of decoding.

python -m benchmarks.depth CHECKPOINT [--context N] [--kv-bits 8|4] [--prefill N] [--decode N]

The caches are filled with random rows instead of being computed, so that only the steps themselves take time.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import mlx.core as mx

from benchmarks.running import run_benchmark
from gemma4_mlx.checkpoint.load import load_model
from gemma4_mlx.engine.prefill import prefill
from gemma4_mlx.measure.fill import filled_caches
from gemma4_mlx.measure.paths import step
from gemma4_mlx.model.cache import cache_arrays
from gemma4_mlx.model.unified import Gemma4Unified
from gemma4_mlx.prompt.prompt import Prompt


def measure(model: Gemma4Unified, context: int, kv_bits: int | None, read: int, said: int) -> dict[str, Any]:
    """Bytes by component, and the peak of the two kinds of step at the end of a context."""
    weights = mx.get_active_memory()
    depth = context - read - said
    caches = filled_caches(model, depth, read + said, kv_bits)
    held = sum(array.nbytes for array in cache_arrays(caches))
    mx.reset_peak_memory()
    start = time.perf_counter()
    logits = prefill(model, Prompt([300] * (depth + read)), caches, 512)
    mx.eval(logits)
    figures = {"context": context, "kv_bits": kv_bits, "weights": weights, "caches": held}
    figures |= {"prefill_tokens": read, "prefill_peak": mx.get_peak_memory(), "prefill_s": time.perf_counter() - start}
    mx.reset_peak_memory()
    start = time.perf_counter()
    for _ in range(said):
        logits = step(model, caches, mx.argmax(logits, axis=-1))
        mx.eval(logits)
    figures |= {"decode_tokens": said, "decode_peak": mx.get_peak_memory(), "decode_s": time.perf_counter() - start}
    return figures | {"finite": bool(mx.isfinite(logits).all().item())}


def main() -> None:
    """Prints one JSON object, sizes in bytes."""
    parser = argparse.ArgumentParser(description="Measure memory at the end of a long context.")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--context", type=int, default=262144)
    parser.add_argument("--kv-bits", type=int, choices=(4, 8))
    parser.add_argument("--prefill", type=int, default=512, help="tokens of the prefill step")
    parser.add_argument("--decode", type=int, default=2, help="decode steps")
    args = parser.parse_args()
    mx.set_cache_limit(64 * 2**20)
    model = load_model(args.checkpoint)
    print(json.dumps(measure(model, args.context, args.kv_bits, args.prefill, args.decode)))


if __name__ == "__main__":
    run_benchmark(main, "10 minutes")
