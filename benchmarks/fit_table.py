"""The tables of what fits in 16 GB in both READMEs, computed from the configuration by the fit check's own arithmetic.

python -m benchmarks.fit_table [--write]
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.shapes import full_size_config
from gemma4_mlx.config import ModelConfig
from gemma4_mlx.engine.memory import budget
from gemma4_mlx.engine.plan import GB, Need
from gemma4_mlx.measure.shapes import stored_bytes

HERE = Path(__file__).resolve().parent
BEGIN, END = "<!-- fit table: python -m benchmarks.fit_table --write -->", "<!-- end of fit table -->"
CONTEXTS = (8192, 32768, 65536, 131072, 262144)
KV_BITS = (None, 8, 4)
WEIGHT_BITS = (4, 6, 8)
PAGES = ((HERE.parent / "README.md", (4,)), (HERE / "README.md", WEIGHT_BITS))
"""Where the table stands, and for weights of how many bits."""

MAC = "16GB"
CHUNK, BF16 = 512, 2


def weight_bytes(bits: int) -> int:
    """Bytes of the 12B's weights, language model at so many bits in groups of 64, the rest in bf16."""
    return stored_bytes(ModelConfig.from_dict(full_size_config()), bits)


def table(weight_bits: Sequence[int] = WEIGHT_BITS) -> str:
    """Markdown: totals in GB, bold if they fit."""
    allowed = budget(MAC)
    within, free = allowed.limit / GB, allowed.reserve / GB
    lines = [
        f"Bold: within {within:.2f} GB, a working set of {within + free:.2f} GB less {free:.2f} GB kept free.",
        "",
        "| weights | context | plain caches | 8-bit | 4-bit |",
        "|---|---|---|---|---|",
    ]
    for bits in weight_bits:
        weights = weight_bytes(bits)
        need = Need(
            config=ModelConfig.from_dict(full_size_config()),
            weights=weights,
            itemsize=BF16,
            chunk=CHUNK,
            kv_group_size=64,
            limit=allowed.limit,
        )
        for context in CONTEXTS:
            totals = [need.plan(context, kv_bits).total for kv_bits in KV_BITS]
            cells = [f"**{total / GB:.2f}**" if total <= allowed.limit else f"{total / GB:.2f}" for total in totals]
            lines.append(f"| {bits}-bit, {weights / GB:.2f} GB | {context:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Print the table, or put it into both READMEs."""
    parser = argparse.ArgumentParser(description="Compute what fits in 16 GB.")
    parser.add_argument("--write", action="store_true", help="put the tables into both READMEs")
    if not parser.parse_args().write:
        print(table())
        return
    for path, weight_bits in PAGES:
        text = path.read_text(encoding="utf-8")
        before, rest = text.split(BEGIN)
        path.write_text(f"{before}{BEGIN}\n{table(weight_bits)}\n{END}{rest.split(END)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main()
