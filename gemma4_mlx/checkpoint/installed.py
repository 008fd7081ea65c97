"""The models on this machine that this package reads: in the Hub's cache, in Kaggle's, in folders that it knows."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gemma4_mlx.checkpoint.address import HUB, NANO, Address
from gemma4_mlx.checkpoint.hub import NANO_FOLDER
from gemma4_mlx.checkpoint.kaggle import cache_folder
from gemma4_mlx.checkpoint.unfinished import origin
from gemma4_mlx.config import DRAFTER_TYPE, MODEL_TYPE, TEXT_TYPE
from gemma4_mlx.errors import GemmaError
from gemma4_mlx.files import read_json

OTHER_PROGRAMS = ("~/.lmstudio/models/*/*", "~/.cache/lm-studio/models/*/*")
"""Where other programs keep checkpoints of the same kind."""


@dataclass(frozen=True, slots=True)
class Installed:
    """A model on this machine.

    Attributes:
        name: what --model takes.
        folder: where it lies.
        model_type: as its config.json says.
        in_cache: whether the Hub's or Kaggle's library put it there; otherwise the folder is somebody's own.
    """

    name: str
    folder: Path
    model_type: str
    in_cache: bool

    @property
    def is_drafter(self) -> bool:
        """Whether it is no model but a drafter of one."""
        return self.model_type == DRAFTER_TYPE

    @property
    def bytes(self) -> int:
        """Bytes of its files, without what a cache keeps besides."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())


def installed(folders: Iterable[Path] = ()) -> list[Installed]:
    """Every model, the built-in one first, then in the order of their names. Nothing but config.json is read."""
    caches = [*_hub_snapshots(), *_kaggle_versions()]
    own = [Path(os.path.abspath(folder)) for folder in (*folders, *_other_programs())]
    found = {folder: model for folder in (*caches, *own) if (model := _model(folder)) is not None}
    nano = Installed(NANO, NANO_FOLDER, MODEL_TYPE, in_cache=False)
    return [nano, *sorted(found.values(), key=lambda model: model.name)]


def _model(folder: Path) -> Installed | None:
    try:
        kind = read_json(folder / "config.json").get("model_type")
    except (GemmaError, OSError):
        return None
    if kind not in (MODEL_TYPE, TEXT_TYPE, DRAFTER_TYPE):
        return None
    address = origin(folder)
    return Installed(str(address or folder), folder, kind, in_cache=address is not None)


def cache_of(address: Address) -> Path:
    """Where the library of its host keeps models."""
    return hub_cache() if address.host == HUB else cache_folder()


def blobs_of(address: Address) -> Path:
    """Where the Hub's cache keeps the contents of a repository's files."""
    return hub_cache() / f"models--{address.name.replace('/', '--')}" / "blobs"


def hub_cache() -> Path:
    """Where huggingface_hub keeps repositories."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def _hub_snapshots() -> Iterator[Path]:
    return _folders(hub_cache().glob("models--*/snapshots/*"))


def _kaggle_versions() -> Iterator[Path]:
    return _folders(cache_folder().glob("*/*/*/*/[0-9]*"))


def _other_programs() -> Sequence[Path]:
    home = Path(os.path.expanduser("~"))
    return [folder for pattern in OTHER_PROGRAMS for folder in _folders(home.glob(pattern.removeprefix("~/")))]


def _folders(paths: Iterable[Path]) -> Iterator[Path]:
    return (path for path in paths if path.is_dir())
