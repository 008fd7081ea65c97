"""What a user has chosen once: the model that commands take if none is named; and when each model was last used.

Files of the user's own, where the system keeps such: ~/Library/Application Support on macOS, the XDG folders elsewhere,
and if their variables are set.
"""

import json
import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from gemma4_mlx.errors import GemmaError, note
from gemma4_mlx.files import read_json, write_atomically

NAME = "gemma4_mlx"
MOST_FOLDERS, MOST_USES = 100, 1000
"""Folders and uses that are remembered; the oldest go first."""


def settings_file() -> Path:
    """Where the choices are kept."""
    return _folder("XDG_CONFIG_HOME", ".config") / "settings.json"


def uses_file() -> Path:
    """Where the times of use are kept."""
    return _folder("XDG_STATE_HOME", ".local/state") / "used.json"


def default_model() -> str | None:
    """The model that was chosen, None if none was. Raise GemmaError if the file is damaged."""
    model = _read(settings_file()).get("model")
    if model is not None and not (isinstance(model, str) and model.strip()):
        raise GemmaError(f"{settings_file()}: model must be a name or a path; gemma4-mlx use NAME sets it anew")
    return model


def choose_default(model: str | None) -> None:
    """Keep the choice of a model, or of none. Raise GemmaError if it can't be written."""
    try:
        entries = _read(settings_file())
    except GemmaError as error:
        note(f"{error}: it is written anew")
        entries = {}
    _write(settings_file(), {**entries, "model": model})


def known_folders() -> list[Path]:
    """Folders that models were written to or chosen from, the newest first; those that are gone are left out."""
    with suppress(GemmaError):
        folders = _read(settings_file()).get("folders")
        if isinstance(folders, list):
            return [Path(folder) for folder in folders if isinstance(folder, str) and Path(folder).is_dir()]
    return []


def remember_folder(folder: Path) -> None:
    """Keep where a model lies. What can't be kept is not worth an error."""
    path = os.path.abspath(folder)
    others = [str(known) for known in known_folders() if str(known) != path]
    with suppress(GemmaError):
        _write(settings_file(), {**_read(settings_file()), "folders": [path, *others][:MOST_FOLDERS]})


def last_uses() -> Mapping[str, float]:
    """The time of each model's last use, by its name or path, in seconds since 1970."""
    with suppress(GemmaError):
        return {name: at for name, at in _read(uses_file()).items() if isinstance(at, int | float)}
    return {}


def mark_used(model: str) -> None:
    """Keep that a model is used now. What can't be kept is not worth an error."""
    uses = {name: at for name, at in last_uses().items() if name != model} | {model: int(time.time())}
    with suppress(GemmaError):
        _write(uses_file(), dict(sorted(uses.items(), key=lambda use: use[1])[-MOST_USES:]))


def _folder(variable: str, usual: str) -> Path:
    given = os.environ.get(variable, "")
    if os.path.isabs(given):  # others are to be ignored, the XDG specification says
        return Path(given) / NAME
    home = os.path.expanduser("~")
    known = Path(home if os.path.isabs(home) else os.devnull)  # without a home nothing is kept
    return known / ("Library/Application Support" if sys.platform == "darwin" else usual) / NAME


def _read(path: Path) -> dict[str, Any]:
    """A file's entries, none if there is no file. Raise GemmaError if it is damaged."""
    try:
        return read_json(path) if path.exists() else {}
    except GemmaError as error:
        raise GemmaError(f"{error}; mend it, or remove it") from None
    except OSError as error:
        raise GemmaError(f"{path}: can't be read ({error.strerror}); name a model with --model") from None


def _write(path: Path, entries: Mapping[str, Any]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GemmaError(f"{path.parent}: can't be made ({error.strerror}); set XDG_CONFIG_HOME to another") from None
    kept = {name: value for name, value in entries.items() if value is not None}
    write_atomically(path, json.dumps(kept, indent=2) + "\n")
