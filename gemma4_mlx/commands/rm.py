"""`gemma4-mlx rm NAME`: remove a downloaded model from the Hub's or Kaggle's cache, and nothing else."""

import argparse
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gemma4_mlx.checkpoint.address import HUB, NANO, Address, read_address
from gemma4_mlx.commands.common import EXIT_FAILED
from gemma4_mlx.commands.list import size
from gemma4_mlx.commands.use import chosen
from gemma4_mlx.errors import GemmaError, UsageError, note, one_line

if TYPE_CHECKING:
    from gemma4_mlx.checkpoint.installed import Installed

DESCRIPTION = "Remove a downloaded model from the cache. Folders of your own are never touched."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("name", metavar="NAME", help="what gemma4-mlx list calls it; without a revision, all of them")
    parser.add_argument("--revision", help="only this branch, tag or commit, or version on Kaggle")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def run(args: argparse.Namespace) -> int:
    """Ask, and remove."""
    address = _address(args.name, args.revision)
    models = found(address)
    was_default = chosen().name in [str(address), *(model.name for model in models)]
    freed = _remove(address, models, args.yes)
    if freed is None:
        return EXIT_FAILED
    print(f"{address}: removed, {size(freed)} freed")
    if was_default:
        note(f"it was the model that is taken if none is named ({chosen().named_by}); gemma4-mlx use chooses another")
    return 0


def _address(name: str, revision: str | None) -> Address:
    """The model in a cache. Raise GemmaError, UsageError for what is in none."""
    from gemma4_mlx.checkpoint.hub import local_folder
    from gemma4_mlx.checkpoint.unfinished import origin

    if name == NANO:
        raise UsageError("nano is built in, and goes with the package")
    folder = local_folder(name)
    address = read_address(name, revision) if folder is None else origin(folder)
    if address is not None:
        return address
    if folder is None:
        raise UsageError(f"{name}: no name of a model (owner/name); gemma4-mlx list tells those that are here")
    raise GemmaError(f"{name}: a folder of yours, in no cache; to remove it yourself: rm -r {shlex.quote(name)}")


def found(address: Address) -> list["Installed"]:
    """The models of this address, every revision if it names none. Raise GemmaError if there is none."""
    from gemma4_mlx.checkpoint.installed import installed

    models = [model for model in installed() if model.in_cache]
    same = [model for model in models if _is_meant(address, model)]
    if not same:
        others = (
            f" (there is {', '.join(here)})" if (here := [m.name for m in models if _base(m) == address.name]) else ""
        )
        raise GemmaError(f"{address}: no model of this package in the cache{others}; gemma4-mlx list tells what is")
    return same


def _base(model: "Installed") -> str:
    address = read_address(model.name)
    return address.name if address else ""


def _is_meant(address: Address, model: "Installed") -> bool:
    known = read_address(model.name)
    if known is None or (known.host, known.name) != (address.host, address.name):
        return False
    revisions = (None, known.revision, known.revision or "main", model.folder.name)
    return address.revision in revisions or _is_beginning(address.revision, model.folder.name)


def _is_beginning(revision: str | None, commit: str) -> bool:
    """Whether a revision is a commit in short."""
    return revision is not None and len(revision) >= 7 and commit.startswith(revision)


def _remove(address: Address, models: Sequence["Installed"], unasked: bool) -> int | None:
    """Bytes that were freed; None if it is not agreed to. Raise GemmaError if it can't be removed."""
    try:
        if address.host == HUB:
            return _remove_from_hub_cache(address, models, unasked)
        return _remove_from_kaggle_cache(models, unasked)
    except OSError as error:
        raise GemmaError(f"{address}: can't be removed ({one_line(error)})") from None


def _remove_from_hub_cache(address: Address, models: Sequence["Installed"], unasked: bool) -> int | None:
    from huggingface_hub import scan_cache_dir

    from gemma4_mlx.checkpoint.installed import hub_cache

    cache = scan_cache_dir(hub_cache())
    ours = frozenset(repo for repo in cache.repos if (repo.repo_type, repo.repo_id) == ("model", address.name))
    # Of this repository alone: copies of a repository on the Hub have the same commits.
    strategy = replace(cache, repos=ours).delete_revisions(*(model.folder.name for model in models))
    if not _agreed(models, strategy.expected_freed_size, unasked):
        return None
    strategy.execute()
    left = [model.name for model in models if model.folder.exists()]
    if left:
        raise GemmaError(f"{address}: {', '.join(left)} can't be removed; is the cache write-protected?")
    return strategy.expected_freed_size


def _remove_from_kaggle_cache(models: Sequence["Installed"], unasked: bool) -> int | None:
    total = sum(model.bytes for model in models)
    if not _agreed(models, total, unasked):
        return None
    for model in models:
        model.folder.with_name(f"{model.folder.name}.complete").unlink(missing_ok=True)
        shutil.rmtree(model.folder)
        _remove_empty(model.folder.parent)
    return total


def _remove_empty(folder: Path) -> None:
    """Remove a folder of the cache and those above it, as long as nothing is in them."""
    from gemma4_mlx.checkpoint.kaggle import cache_folder

    while folder != cache_folder() and folder.is_relative_to(cache_folder()) and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent


def _agreed(models: Sequence["Installed"], freed: int, unasked: bool) -> bool:
    """Whether somebody says yes. Raise UsageError if nobody can be asked."""
    if unasked:
        return True
    if not sys.stdin.isatty():
        raise UsageError("it asks before it removes, and standard input is no terminal: --yes removes unasked")
    names = ", ".join(model.name for model in models)
    print(f"remove {names}, {size(freed)}? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
