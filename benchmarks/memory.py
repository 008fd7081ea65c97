"""Memory against context for the 12B at 4 bits, by component and beside other engines: table, CSV and plot.

python -m benchmarks.memory [--csv FILE] [--plot FILE] [--measured FILE ...] [--compared FILE]

Ours is the fit check's own arithmetic. The others' figures are computed from what their sources allocate for these
shapes: full layers with 1,024 numbers a token in bf16, sliding layers with window - 1 + chunk rows, and the scores of a
whole chunk at once. `--measured` takes JSON of `benchmarks.depth` and adds its peaks to the picture, `--compared` that
of `benchmarks.compare` and adds the caches that the others really allocate, above the same weights.
"""

import argparse
import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.fit_table import BF16, CHUNK, MAC, weight_bytes
from benchmarks.shapes import full_size_config
from gemma4_mlx.config import ModelConfig
from gemma4_mlx.engine.memory import budget
from gemma4_mlx.engine.plan import GB, Need

CONTEXTS = (4096, 8192, 16384, 32768, 65536, 131072, 196608, 262144)
OTHER_CHUNK = 2048
"""Tokens that mlx-lm and mlx-vlm read at once by default."""

COLUMNS = ("context", "kv_bits", "weights", "full caches", "sliding caches", "transient", "total", "other engines")


def need() -> Need:
    """The 12B at 4 bits."""
    config = ModelConfig.from_dict(full_size_config())
    limit = budget(MAC).limit
    return Need(config=config, weights=weight_bytes(4), itemsize=BF16, chunk=CHUNK, kv_group_size=64, limit=limit)


def other_engines(wanted: Need, context: int, chunk: int = OTHER_CHUNK) -> int:
    """Bytes of the plain layout: growing caches of whole keys and values, and scores of a chunk in all heads."""
    text, total = wanted.config.text, wanted.weights
    for layer in text.layers:
        rows = context if layer.window is None else min(context, layer.window - 1 + chunk)
        total += rows * 2 * layer.num_key_value_heads * layer.head_dim * BF16
    return total + text.num_attention_heads * min(chunk, context) * context * BF16


def rows() -> list[dict[str, Any]]:
    """One row for each context and kind of cache."""
    wanted, found = need(), []
    for kv_bits in (None, 8, 4):
        for context in CONTEXTS:
            plan = wanted.plan(context, kv_bits)
            sizes = (plan.weights, plan.full_caches, plan.sliding_caches, plan.transient, plan.total)
            values = (context, kv_bits or "none", *sizes, other_engines(wanted, context))
            found.append(dict(zip(COLUMNS, values, strict=True)))
    return found


def others_caches(path: Path) -> dict[str, list[tuple[int, int]]]:
    """`(context, bytes)` of the caches of each other engine, as a comparison found them."""
    found: dict[str, list[tuple[int, int]]] = {"mlx-lm": [], "mlx-vlm": []}
    for row in json.loads(path.read_text(encoding="utf-8"))["rows"]:
        for context, name in ((8192, "8k"), (131072, "128k")):
            if row["test"] == f"caches of {name} positions":
                for engine in found.keys() & row["figures"].keys():
                    found[engine].append((context, int(row["figures"][engine][0])))
    return found


def plot(
    path: Path,
    found: Sequence[dict[str, Any]],
    measured: Sequence[dict[str, Any]],
    others: dict[str, list[tuple[int, int]]],
) -> None:
    """Totals against context, with the line that 16 GB Macs recommend to stay below."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 5))
    for kv_bits, name in (("none", "plain caches"), (8, "8-bit caches"), (4, "4-bit caches")):
        points = [(row["context"], row["total"] / GB) for row in found if row["kv_bits"] == kv_bits]
        label = f"gemma4_mlx, {name}, reading {CHUNK} tokens (computed)"
        axes.plot(*zip(*points, strict=True), marker="o", label=label)
    wanted = need()
    for chunk, style in ((OTHER_CHUNK, "-"), (CHUNK, ":")):
        totals = [other_engines(wanted, context, chunk) / GB for context in CONTEXTS]
        label = f"mlx-lm, mlx-vlm layout, reading {chunk:,} tokens (computed)"
        axes.plot(CONTEXTS, totals, style, marker="s", color="grey", label=label)
    for figures in measured:
        peak = max(figures["prefill_peak"], figures["decode_peak"]) / GB
        axes.plot(figures["context"], peak, "k*", markersize=12, label=f"measured, {figures['kv_bits']}-bit caches")
    for (engine, sizes), marker in zip(others.items(), "+x", strict=False):
        points = [(context, (found[0]["weights"] + size) / GB) for context, size in sizes]
        label = f"{engine}, weights and caches alone (measured)"
        axes.plot(*zip(*points, strict=True), marker=marker, linestyle="", color="black", markersize=9, label=label)
    axes.axhline(budget(MAC).limit / GB, color="red", linestyle="--", label="what a 16 GB Mac may use")
    axes.set(xscale="log", xlabel="tokens of context", ylabel="GB", ylim=(6, 18), title="Gemma 4 12B, 4-bit weights")
    axes.set_xticks(CONTEXTS, [f"{context // 1024}k" for context in CONTEXTS])
    axes.minorticks_off()
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Prints the table in GB."""
    parser = argparse.ArgumentParser(description="Compute memory against context.")
    parser.add_argument("--csv", type=Path, help="write bytes there")
    parser.add_argument("--plot", type=Path, help="draw a picture there (needs matplotlib)")
    parser.add_argument("--measured", type=Path, nargs="*", default=[], help="JSON files of benchmarks.depth")
    parser.add_argument("--compared", type=Path, help="JSON file of benchmarks.compare")
    args = parser.parse_args()
    found = rows()
    measured = [json.loads(path.read_text(encoding="utf-8")) for path in args.measured]
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    for row in found:
        cells = (f"{value / GB:.2f}" if name not in COLUMNS[:2] else str(value) for name, value in row.items())
        print(f"| {' | '.join(cells)} |")
    for figures in measured:
        peak = max(figures["prefill_peak"], figures["decode_peak"])
        print(f"measured at {figures['context']} tokens, {figures['kv_bits']}-bit caches: {peak / GB:.2f} GB")
    if args.csv:
        with args.csv.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(found)
    if args.plot:
        plot(args.plot, found, measured, others_caches(args.compared) if args.compared else {})


if __name__ == "__main__":
    main()
