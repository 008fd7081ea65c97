"""`gemma4-mlx use NAME`: the model that commands take if none is named."""

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

from gemma4_mlx.checkpoint.address import NANO, Address, read_address
from gemma4_mlx.errors import GemmaError, UsageError, note
from gemma4_mlx.settings import choose_default, default_model, mark_used, remember_folder, settings_file

DESCRIPTION = "Choose the model that is taken if none is named; without NAME, say which one that is."
VARIABLE = "GEMMA4_MODEL"


@dataclass(frozen=True, slots=True)
class Choice:
    """A model, and what named it: an option, a variable, a file; empty if nothing did."""

    name: str
    named_by: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="folder, Hub or Kaggle name or address; nano to undo")
    parser.add_argument("--revision", help="branch, tag or commit on the Hub, version on Kaggle")
    parser.add_argument("--none", action="store_true", help="forget the choice: nano is taken")


def run(args: argparse.Namespace) -> int:
    """Choose, or say what is chosen."""
    if args.none and args.name:
        raise UsageError("NAME or --none, not both")
    if args.revision and not args.name:
        raise UsageError("--revision needs NAME")
    if args.name and args.name != NANO:
        choose_default(_checked(args.name, args.revision))
    elif args.name or args.none:
        choose_default(None)
    print(described())
    if (args.name or args.none) and os.environ.get(VARIABLE):
        note(f"${VARIABLE} is set and goes before the choice; unset {VARIABLE} to let the choice count")
    return 0


def chosen(given: str | None = None) -> Choice:
    """The model that is taken: the one given, else of $GEMMA4_MODEL, else the choice, else nano. Raise GemmaError."""
    if given:
        return Choice(given, "--model")
    if variable := os.environ.get(VARIABLE):
        return Choice(variable, f"${VARIABLE}")
    model = default_model()
    return Choice(model, f"gemma4-mlx use, in {settings_file()}") if model else Choice(NANO, "")


def described() -> str:
    """The model that is taken if none is named, and why."""
    choice = chosen()
    if choice.name == NANO and not choice.named_by:
        return "nano, the built-in demonstration model (nothing is chosen; gemma4-mlx use NAME chooses)"
    if is_gone(choice.name):
        note(f"{choice.name} isn't there any more; gemma4-mlx use NAME chooses another, --none nano")
    return f"{choice.name} (set by {choice.named_by})"


def is_gone(name: str) -> bool:
    """Whether a name can only be a folder, and there is none. A home that can't be found holds none."""
    try:
        return name != NANO and not Path(name).expanduser().is_dir() and read_address(name) is None
    except (GemmaError, OSError, RuntimeError, ValueError):
        return True


def remember_use(name: str, revision: str | None = None) -> None:
    """Keep when a model was used, for `list`. A name that can't be read is left to whoever loads it."""
    try:
        mark_used(known_as(name, revision))
    except (GemmaError, OSError, RuntimeError, ValueError):
        return


def known_as(name: str, revision: str | None = None) -> str:
    """How `list` calls a model: a folder by its whole path, others by their address. Raise GemmaError for no name."""
    folder = Path(name).expanduser()
    if name == NANO or folder.is_dir():
        return name if name == NANO else os.path.abspath(folder)
    address = read_address(name, revision)
    if address is None:
        raise GemmaError(f"{name}: no such folder, nor the name of a Hub repository (owner/name)")
    is_main = address.revision == "main"
    return str(Address(address.host, address.name) if is_main else address)


def _checked(name: str, revision: str | None) -> str:
    """The name as it is kept. Raise GemmaError for what is no model that can be run; one may be downloaded later."""
    from gemma4_mlx.checkpoint.hub import local_folder
    from gemma4_mlx.checkpoint.unfinished import check_finished
    from gemma4_mlx.config import ModelConfig

    local, known = local_folder(name), known_as(name, revision)
    if local is not None and revision is not None:
        raise UsageError(f"--revision {revision}: {name} is a folder, which has none; leave it out")
    folder = local or _downloaded(known)
    if folder is None:
        note(f"{known} isn't downloaded yet: the first use downloads it, or gemma4-mlx pull {known}")
        return known
    check_finished(folder)
    ModelConfig.from_folder(folder)
    if local is not None:
        remember_folder(local)
    return known


def _downloaded(known: str) -> Path | None:
    """The folder of a model that is in a cache, None if it isn't."""
    from gemma4_mlx.checkpoint.installed import installed

    return next((model.folder for model in installed() if model.name == known), None)
