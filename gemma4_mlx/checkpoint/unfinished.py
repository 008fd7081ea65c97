"""What of a download lacks, and the command that finishes it.

Its own file because it knows how downloaders leave their work: it looks at files, never at a model.
"""

import json
import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gemma4_mlx.checkpoint.address import HUB, KAGGLE, Address
from gemma4_mlx.checkpoint.files import HEADER_BYTES, INDEX, WHOLE, absent_weights, some
from gemma4_mlx.checkpoint.kaggle import cache_folder
from gemma4_mlx.config import DRAFTER_TYPE
from gemma4_mlx.errors import GemmaError
from gemma4_mlx.files import JSON_BYTES, LFS_POINTER, read_json, read_limited

CONFIG, TOKENIZER = "config.json", "tokenizer.json"
"""Files that every model in a cache has; a drafter needs no tokenizer of its own."""

MISSING = "missing"
READ = ("*.json", "*.jinja", "*.safetensors", "tokenizer.model")
PARTS = (".incomplete", ".part", ".partial", ".crdownload", ".download", ".opdownload", ".icloud")
"""How the names of unfinished files end: those of huggingface_hub, curl's users, browsers and iCloud."""

LOCAL_DOWNLOAD = ".cache/huggingface/download"
"""Where huggingface_hub keeps its notes in a folder that it was told to download to."""

ANNEX = b"/annex/objects/"
PAGE = re.compile(
    rb"\s*(?:<!doctype html|<html|<\?xml|<error>|entry not found|access to model|invalid user)", re.IGNORECASE
)
"""How an error page or message begins that was saved in the place of a file."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A file of a download that is not there, or not whole.

    Attributes:
        name: the file's.
        what: what is the matter, to be said after the name.
    """

    name: str
    what: str


def check_finished(folder: Path, *, came_whole: bool = False) -> None:
    """Raise GemmaError with what lacks and the command that finishes the download, if it is not finished.

    If it `came_whole`, what is missing was never there: whoever needs it says so.
    """
    found = [fault for fault in faults(folder) if not (came_whole and fault.what == MISSING)]
    if not found:
        return
    alike = [fault.name for fault in found if fault.what == found[0].what]
    verb = "are" if len(alike) > 1 else "is"
    raise GemmaError(
        f"{folder}: an unfinished download: {some(alike)} {verb} {found[0].what}; {cure(folder, found[0])}"
    )


def faults(folder: Path) -> Iterator[Fault]:
    """What is not whole, then what is missing or there in part."""
    names = sorted({path.name for pattern in READ for path in folder.glob(pattern)})
    yield from filter(None, (fault_of_file(folder / name) for name in names))
    yield from (Fault(name, MISSING) for name in _missing(folder, names))
    if not any(name.endswith(".safetensors") for name in names):
        yield from (Fault(name, "there in part") for name in _parts(folder))
    yield from (Fault(path.stem, "there in part") for path in sorted(folder.glob("*.aria2")))  # it has its full size
    address = origin(folder)
    if address is not None and address.host == KAGGLE and not folder.with_name(f"{folder.name}.complete").exists():
        yield Fault(f"version {folder.name}", "not marked as whole by kagglehub")


def _parts(folder: Path) -> list[str]:
    """Unfinished files of any downloader."""
    parts = [path.name for path in folder.glob("*.*") if path.name.endswith(PARTS)]
    waiting = any((folder / LOCAL_DOWNLOAD).glob("*.incomplete"))
    return sorted(parts) or (["model.safetensors"] if waiting else [])


def _missing(folder: Path, names: list[str]) -> list[str]:
    """Files that must be there and are not."""
    weights = [name for name in names if name.endswith(".safetensors")]
    missing = absent_weights(weights, _indexed(folder / INDEX))
    if origin(folder) is None:
        return missing
    missing = missing or ([] if weights else [WHOLE])
    needed = [CONFIG] if _is_drafter(folder) else [CONFIG, TOKENIZER]
    return [name for name in needed if name not in names] + missing


def _is_drafter(folder: Path) -> bool:
    try:
        return read_json(folder / CONFIG).get("model_type") == DRAFTER_TYPE
    except GemmaError:
        return False


def _indexed(index: Path) -> list[str]:
    """The files that an index lists; none if it can't be read, which is said elsewhere."""
    try:
        listed = json.loads(read_limited(index, JSON_BYTES))["weight_map"].values()
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []
    return sorted({name for name in listed if isinstance(name, str) and name == Path(name).name})


def fault_of_file(path: Path) -> Fault | None:
    """What is the matter with a file that has a name in the folder."""
    if path.is_symlink() and not path.exists():
        target = os.readlink(path).encode(errors="surrogateescape")
        return Fault(path.name, "a link of git-annex to what is not here" if ANNEX in target else "a link to nothing")
    if not path.is_file():
        return None
    size = path.stat().st_size
    if size == 0:
        return Fault(path.name, "empty")
    try:
        with path.open("rb") as file:
            beginning = file.read(100)
            if path.suffix == ".safetensors":
                beginning += file.read(min(int.from_bytes(beginning[:8], "little"), HEADER_BYTES))
            return _fault_of(path.name, size, beginning)
    except OSError:
        return None  # whoever reads it says why it can't be read


def _fault_of(name: str, size: int, beginning: bytes) -> Fault | None:
    if beginning.startswith(LFS_POINTER):
        return Fault(name, "only a Git LFS pointer")
    if ANNEX in beginning[:100]:
        return Fault(name, "only a pointer of git-annex")
    if PAGE.match(beginning):
        return Fault(name, "a page or a message that was saved in its place")
    whole = _whole_size(beginning) if name.endswith(".safetensors") else 0
    if size < whole:
        return Fault(name, f"cut off at {size:,} of {whole:,} bytes")
    return None


def _whole_size(beginning: bytes) -> int:
    """Bytes of a safetensors file, as its header says; 0 if it says nothing sensible."""
    length = int.from_bytes(beginning[:8], "little")
    if not 2 <= length <= HEADER_BYTES or beginning[8:9] != b"{":
        return 0
    if len(beginning) < 8 + length:
        return 8 + length
    try:
        tensors = [entry for name, entry in json.loads(beginning[8 : 8 + length]).items() if name != "__metadata__"]
        return 8 + length + max((int(entry["data_offsets"][1]) for entry in tensors), default=0)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        return 0


def origin(folder: Path) -> Address | None:
    """The model that a folder of the Hub's or Kaggle's cache is; None for any other folder."""
    folder = Path(os.path.abspath(folder))
    repository = folder.parent.parent
    if folder.parent.name == "snapshots" and repository.name.startswith("models--"):
        name = repository.name.removeprefix("models--").replace("--", "/")
        return Address(HUB, name, _reference(repository, folder.name))
    if folder.is_relative_to(cache_folder()) and len(folder.relative_to(cache_folder()).parts) == 5:
        return Address(KAGGLE, "/".join(folder.parts[-5:-1]), folder.name)
    return None


def _reference(repository: Path, commit: str) -> str | None:
    """What a commit of the Hub's cache is asked for by; None for the main branch."""
    references = repository / "refs"
    named = {
        path.relative_to(references).as_posix(): path.read_text().strip()
        for path in sorted(references.rglob("*"))
        if path.is_file()
    }
    if named.get("main") == commit:
        return None
    return next((name for name, at in named.items() if at == commit), commit)


def cure(folder: Path, fault: Fault) -> str:
    """The command that finishes a download, after how it was begun."""
    address, quoted = origin(folder), shlex.quote(str(folder))
    if address is not None:
        return f"finish it with: gemma4-mlx pull {shlex.quote(str(address))}"
    if "git-annex" in fault.what:
        return f"finish it with: git -C {quoted} annex get ."
    if (folder / ".git").exists():
        return f"finish it with: git -C {quoted} lfs pull"
    if (folder / LOCAL_DOWNLOAD).is_dir():
        return f"finish it with: hf download OWNER/NAME --local-dir {quoted}"
    if "Git LFS" in fault.what:
        return "copy the file itself, or run git lfs pull where it comes from"
    return "download it, copy it or convert the checkpoint again"
