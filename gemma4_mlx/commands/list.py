"""`gemma4-mlx list`: the models on this machine that can be run. Weights are not read, only their headers."""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from gemma4_mlx.commands.use import chosen, is_gone
from gemma4_mlx.errors import GemmaError, note, only_errors, visible
from gemma4_mlx.settings import known_folders, last_uses

if TYPE_CHECKING:
    from gemma4_mlx.checkpoint.installed import Installed

DESCRIPTION = "List the models on this machine that can be run: in the Hub's and Kaggle's cache, and in known folders."
DAY = 24 * 60 * 60  # seconds
HEADS = ("NAME", "SIZE", "BITS", "FITS", "LAST USED")


@dataclass(frozen=True, slots=True)
class Row:
    """What is listed of a model: bytes on disk, and seconds since 1970, None if it was never used from here."""

    name: str
    folder: str
    bytes: int
    bits: str
    bits_per_weight: float | None
    fits: str
    last_used: int | None
    default: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--json", action="store_true", help="print a JSON array")
    parser.add_argument("--memory-limit", metavar="16GB", help="tell what fits a Mac with this memory")


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    from gemma4_mlx.checkpoint.installed import installed

    default, uses = chosen().name, last_uses()
    rows, remarks = [], []
    for model in installed(known_folders()):
        row, remark = look_at(model, args.memory_limit, uses.get(model.name), model.name == default)
        rows.append(row)
        remarks.append(remark)
    if args.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        print("\n".join(table([HEADS, *(cells(row) for row in rows)])))
    if is_gone(default):
        remarks.append(f"{default}, the default, isn't there any more; gemma4-mlx use NAME chooses another")
    for remark in filter(None, remarks):
        note(remark)
    return 0


def look_at(model: "Installed", memory_limit: str | None, used: float | None, is_default: bool) -> tuple[Row, str]:
    """A model's row, and a remark: why it can't be run, or that its name promises what it doesn't hold."""
    from gemma4_mlx.checkpoint.load import open_drafter, open_model
    from gemma4_mlx.checkpoint.unfinished import check_finished
    from gemma4_mlx.commands.fitting import broken_promise, facts

    common = (model.name, str(model.folder), model.bytes)
    last = None if used is None else int(used)
    try:
        with only_errors():  # whoever loads the model hears its notes
            check_finished(model.folder)
            told = facts((open_drafter if model.is_drafter else open_model)(model.folder), memory_limit)
    except GemmaError as error:
        why = str(error).removeprefix(f"{model.folder}: ")
        return Row(*common, "-", None, "can't be run", last, is_default), f"{model.name} can't be run: {why}"
    bits = f"{told.bits} ({told.per_weight:.1f} a weight)"
    return Row(*common, bits, told.per_weight, told.fits, last, is_default), broken_promise(model.name, told)


def cells(row: Row) -> Sequence[str]:
    """What the table shows of a row."""
    name = f"{row.name} (default)" if row.default else row.name
    return visible(name), size(row.bytes), row.bits, row.fits, age(row.last_used)


def size(count: int) -> str:
    """Bytes in GB, few of them in MB."""
    return f"{count / 1e9:.2f} GB" if count >= 1e8 else f"{count / 1e6:.0f} MB"


def age(used: int | None) -> str:
    """How long ago a model was used."""
    if used is None:
        return "-"
    days = int(max(0, time.time() - used) // DAY)
    if days > 60:
        return time.strftime("%Y-%m-%d", time.localtime(used))
    return "today" if days == 0 else f"{days} day{'s' if days > 1 else ''} ago"


def table(lines: Sequence[Sequence[str]]) -> list[str]:
    """Cells in columns as wide as they need to be."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
