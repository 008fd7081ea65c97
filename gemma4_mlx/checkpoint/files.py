"""Which safetensors files of a folder hold its weights; what lies beside them is named in a note and left alone."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gemma4_mlx.errors import GemmaError, note
from gemma4_mlx.files import check_content, open_regular, read_json

INDEX, WHOLE = "model.safetensors.index.json", "model.safetensors"
SHARD = re.compile(r"model-(\d+)-of-(\d+)\.safetensors")
READS = "; this package reads safetensors only"
HEADER_BYTES, MOST_TENSORS = 20_000_000, 100_000
"""Of a safetensors file, at most: the published one has 0.1 MB for 1,000 tensors."""

LISTED = 5
"""Names that a message lists before it only counts."""


@dataclass(frozen=True, slots=True)
class WeightFiles:
    """Files to read, and the file in which an index says that each tensor is (empty without an index)."""

    paths: Sequence[Path]
    index: Mapping[str, str]


def weight_files(folder: Path) -> WeightFiles:
    """The files that the index lists; without one the shards, model.safetensors, or whatever model*.safetensors are.

    Raises GemmaError if one of them is missing.
    """
    present = sorted(path.name for path in folder.glob("model*.safetensors") if path.is_file())
    index = _read_index(folder / INDEX)
    names = sorted(set(index.values())) or _without_index(folder, present)
    if not names:
        others = sorted(path.name for path in folder.glob("*.safetensors"))
        rest = f", only {some(others)}; give the weights such a name" if others else READS
        raise GemmaError(f"{folder}: no model*.safetensors there{rest}")
    _check_present(folder, names, by_index=bool(index))
    beside = sorted(set(present) - set(names))
    if beside:
        note(f"{folder}: {some(beside)} not read; the checkpoint is in {some(names)}")
    return WeightFiles([folder / name for name in names], index)


def check_header(path: Path) -> None:
    """Raise ValueError or OSError unless a safetensors file is whole, with a header no larger than a model's may be."""
    from safetensors import SafetensorError, safe_open

    with open_regular(path) as file:
        beginning = file.read(100)
    check_content(beginning)
    length = int.from_bytes(beginning[:8], "little")
    if len(beginning) < 8 or not 2 <= length <= min(path.stat().st_size - 8, HEADER_BYTES):
        raise ValueError("no header")
    try:
        with safe_open(path, "numpy") as tensors:
            count = len(tensors.keys())
    except SafetensorError as error:
        raise ValueError(str(error)) from None
    if count > MOST_TENSORS:
        raise ValueError(f"{count} tensors; at most {MOST_TENSORS} are accepted")


def some(names: Sequence[str]) -> str:
    """The first names of a list, and how many more there are."""
    rest = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {rest} more" if rest > 0 else "")


def _read_index(path: Path) -> dict[str, str]:
    """The file of each tensor; empty if there is no index, or only metadata in it."""
    listed = read_json(path).get("weight_map", {}) if path.exists() else {}
    if not isinstance(listed, dict) or not all(_is_plain_name(name) for name in listed.values()):
        raise GemmaError(f"{path}: weight_map must map tensors to file names in the same folder")
    if path.exists() and not listed:
        note(f"{path}: it lists no tensors, so the weights are taken from the files that are there")
    return listed


def absent_weights(present: Sequence[str], listed: Sequence[str]) -> list[str]:
    """Files that an index lists and are not there; without one, shards that others count and that make none whole."""
    if listed:
        return [name for name in listed if name not in present]
    absent = [_absent_shards(*division, shards) for division, shards in _divisions(present).items()]
    return [] if WHOLE in present or not all(absent) else [name for names in absent for name in names]


def _divisions(present: Sequence[str]) -> dict[tuple[int, str], set[str]]:
    """Names of the shards by their digits and their number."""
    divisions: dict[tuple[int, str], set[str]] = {}
    for match in filter(None, map(SHARD.fullmatch, present)):
        divisions.setdefault((len(match[1]), match[2]), set()).add(match[0])
    return divisions


def _without_index(folder: Path, present: Sequence[str]) -> Sequence[str]:
    """Every file, but of shards and model.safetensors only one whole set: that of the shards if there is one.

    Raises GemmaError if there is none.
    """
    if absent := absent_weights(present, ()):
        raise GemmaError(f"{folder}: {some(absent)} missing; download or convert the checkpoint again")
    divisions = _divisions(present)
    whole = [division for division, shards in divisions.items() if not _absent_shards(*division, shards)]
    left = {name for division, names in divisions.items() if division not in whole[:1] for name in names}
    left |= {WHOLE} if whole else set()
    return [name for name in present if name not in left]


def _absent_shards(digits: int, total: str, here: set[str]) -> list[str]:
    """Names of the shards that others count as there; a few of them, if there are many."""
    numbers = range(1, min(int(total), len(here) + 2 * LISTED) + 1)
    names = (f"model-{number:0{digits}d}-of-{total}.safetensors" for number in numbers)
    return [name for name in names if name not in here]


def _check_present(folder: Path, names: Sequence[str], *, by_index: bool) -> None:
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        where = folder / INDEX if by_index else folder
        raise GemmaError(f"{where}: {some(missing)} missing; download or convert the checkpoint again")


def _is_plain_name(name: object) -> bool:
    return isinstance(name, str) and name == Path(name).name and name.endswith(".safetensors")
