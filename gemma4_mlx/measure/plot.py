"""One picture of a run: speed and memory against context, and time to the first token."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import mlx.core as mx

from gemma4_mlx.config import TextConfig
from gemma4_mlx.errors import MissingPackageError, UsageError, shortened
from gemma4_mlx.files import write_atomically
from gemma4_mlx.measure.fill import cache_bytes
from gemma4_mlx.measure.report import Report, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SMALL_MAC = 16e9
LARGE = 1e9
"""Bytes of weights from which on a machine of 16 GB is worth a line."""

BLUE, ORANGE, GREEN, GREY = "#2a6f97", "#d1495b", "#4f772d", "#777777"


MARKERS, LINES = "os^DvP*X", ("-", "--", ":", "-.")
"""For one length of prompt or reply each: lines of one colour are told apart by them, in grey and on paper too."""


def check_picture(path: Path) -> None:
    """Raise GemmaError if the picture can't be drawn or written: before a long run, not after it."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
    except ImportError:
        raise MissingPackageError("plots", "matplotlib>=3.10") from None
    kind = _kind(path)
    if kind not in FigureCanvasAgg.get_supported_filetypes():
        problem = f"no format is called {shortened(kind)}"
    elif path.is_dir():
        problem = "it is a folder"
    elif path.exists() and not path.is_file():
        problem = "it is a device or a pipe"
    elif not path.absolute().parent.is_dir():
        problem = f"there is no folder {path.absolute().parent}"
    elif not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
        problem = "it is write-protected"
    else:
        return
    raise UsageError(f"{path}: the picture can't be written ({problem}); name it .png, .svg or .pdf elsewhere")


def _kind(path: Path) -> str:
    return path.suffix[1:].lower() or "png"


def draw(report: Report, text: TextConfig, dtype: mx.Dtype, path: Path) -> None:
    """Writes the picture; its format follows from the ending."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    speed, memory, first = figure.subplots(1, 3)
    _draw_speed(speed, report.rows)
    _draw_memory(memory, report, text, dtype)
    _draw_first_tokens(first, [row for row in report.rows if row.test.startswith("first token")])
    machine, checkpoint = report.machine, report.checkpoint
    title = f"{checkpoint.name} on {machine.chip} ({machine.device}), MLX {machine.mlx}, {report.started[:10]}"
    figure.suptitle(title, fontsize=11)
    write_atomically(path, lambda part: figure.savefig(part, dpi=150, format=_kind(path)))


def _draw_speed(axes: "Axes", rows: Sequence[Row]) -> None:
    for kind, colour, label in (("pp", BLUE, "reading the prompt"), ("tg", ORANGE, "writing the reply")):
        points = [row for row in rows if row.test.startswith(kind)]
        for place, tokens in enumerate(sorted({row.tokens for row in points})):
            line = [row for row in points if row.tokens == tokens]
            axes.errorbar(
                [row.depth for row in line],
                [row.mean for row in line],
                yerr=[row.deviation for row in line],
                color=colour,
                marker=MARKERS[place % len(MARKERS)],
                linestyle=LINES[place % len(LINES)],
                markersize=5,
                capsize=3,
                label=f"{label} ({kind}{tokens})",
            )
    _label(axes, "Speed", "tokens in the caches", "tokens/s")
    if rows and any(row.unit == "tokens/s" for row in rows):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("{x:g}")
        axes.xaxis.set_major_formatter(_thousands)
        axes.tick_params(axis="y", which="both", labelsize=8)
        axes.legend(fontsize=8)


def _draw_memory(axes: "Axes", report: Report, text: TextConfig, dtype: mx.Dtype) -> None:
    """Weights and caches up to the whole context as counted, and the peaks as measured."""
    context, weights = text.max_position_embeddings, report.checkpoint.weight_bytes
    unit, name = (1e9, "GB") if weights > LARGE else (1e6, "MB")
    lengths = sorted({1, *(context * step // 32 for step in range(1, 33)), *(context >> step for step in range(6, 12))})
    for kv_bits, colour in ((None, BLUE), (8, ORANGE), (4, GREEN)):
        sums = [(weights + cache_bytes(text, length, kv_bits, dtype)) / unit for length in lengths]
        label = f"weights + {'plain' if kv_bits is None else f'{kv_bits}-bit'} caches, counted"
        axes.plot(lengths, sums, color=colour, label=label)
    measured = [row for row in report.rows if row.unit == "tokens/s"]
    peaks = [row.peak_memory / unit for row in measured]
    axes.plot([row.depth + row.tokens for row in measured], peaks, "o", color=GREY, markersize=4, label="measured peak")
    if weights > LARGE:
        axes.axhline(SMALL_MAC / unit, color="black", linestyle="--", linewidth=1, label="16 GB")
    _label(axes, "Memory", "context, tokens", name)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_formatter(_thousands)
    axes.legend(fontsize=8)


def _draw_first_tokens(axes: "Axes", rows: Sequence[Row]) -> None:
    names = [row.test.removeprefix("first token, ") for row in rows]
    means = [row.mean for row in rows]
    bars = axes.barh(names, means, xerr=[row.deviation for row in rows], color=BLUE, capsize=3)
    axes.bar_label(bars, [f" {mean:.2f} s" for mean in means], fontsize=8, padding=2)
    axes.invert_yaxis()
    axes.set_xlim(right=1.35 * max(means, default=1))
    _label(axes, "Time to the first token", "s", "")


def _thousands(tokens: float, _: float) -> str:
    return f"{tokens / 1000:g}k" if tokens >= 1000 else f"{tokens:g}"


def _label(axes: "Axes", title: str, x: str, y: str) -> None:
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.3)
