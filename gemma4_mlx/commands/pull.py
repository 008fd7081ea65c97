"""`gemma4-mlx pull NAME`: download a model, or finish a download; size, bits and fit are told before."""

import argparse
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from gemma4_mlx.checkpoint.address import HUB, NANO, Address, read_address
from gemma4_mlx.commands.common import EXIT_FAILED
from gemma4_mlx.commands.list import size
from gemma4_mlx.errors import UsageError, note, only_errors
from gemma4_mlx.files import check_room

if TYPE_CHECKING:
    from gemma4_mlx.checkpoint.offer import Offer

DESCRIPTION = "Download a model from the Hub or Kaggle, or finish a download. A download that broke off goes on."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("name", metavar="NAME", help="Hub or Kaggle name or address")
    parser.add_argument("--revision", help="branch, tag or commit on the Hub, version on Kaggle")
    parser.add_argument("--memory-limit", metavar="16GB", help="tell whether it fits a Mac with this memory")
    parser.add_argument("--yes", action="store_true", help="do not ask; without a terminal nothing is asked")


def run(args: argparse.Namespace) -> int:
    """Tell what it is, download it, and check that it is whole."""
    from gemma4_mlx.checkpoint.offer import find_offer

    address = _address(args.name, args.revision)
    offer = find_offer(address)
    print(f"{address}: {_sizes(offer)}", flush=True)
    for line in described(offer, args.name, args.memory_limit):
        print(line, flush=True)
    if offer.size and not _agreed(args, offer):
        return EXIT_FAILED
    folder = _download(address, offer)
    _mend(address, folder)
    print(f"{folder}\nask it: gemma4-mlx chat --model {address}")
    return 0


def _address(name: str, revision: str | None) -> Address:
    from gemma4_mlx.checkpoint.hub import local_folder

    if name == NANO:
        raise UsageError("nano is built in; there is nothing to download")
    address = read_address(name, revision)
    if address is None:
        lies = local_folder(name) is not None
        raise UsageError(f"{name}: " + ("a folder on this machine" if lies else "no name of a model (owner/name)"))
    return address


def _sizes(offer: "Offer") -> str:
    if not offer.size:
        return f"{size(offer.total)}, all of it is here"
    here = f" of {size(offer.total)}; the rest is here" if offer.size < offer.total else ""
    return f"{size(offer.size)} to download{here}"


def described(offer: "Offer", name: str, memory_limit: str | None) -> list[str]:
    """Bits and fit, from the headers. Raise GemmaError for what this package can't run."""
    if offer.address.host != HUB:
        return _described_by_size(offer, memory_limit)
    from gemma4_mlx.checkpoint.offer import offered_model
    from gemma4_mlx.commands.fitting import broken_promise, facts

    with only_errors():  # whoever loads the model hears its notes
        told = facts(offered_model(offer), memory_limit)
    promise = broken_promise(offer.address.name, told)
    lines = [f"bits: {told.bits} ({told.per_weight:.1f} a weight)", f"fits: {told.fits}"]
    return [*lines, *([promise] if promise else [])]


def _described_by_size(offer: "Offer", memory_limit: str | None) -> list[str]:
    """What config.json and the size of the weights say, as headers can't be read before the download."""
    from gemma4_mlx.checkpoint.kaggle import download_file
    from gemma4_mlx.checkpoint.offer import offered_config
    from gemma4_mlx.commands.fitting import fits_by_bytes

    config = offered_config(download_file(offer.address, "config.json").parent)
    weights = sum(count for name, count in offer.files.items() if name.endswith(".safetensors"))
    return [f"fits: {fits_by_bytes(config, weights, memory_limit)}"]


def _agreed(args: argparse.Namespace, offer: "Offer") -> bool:
    """Whether to download: there must be room, and somebody at a terminal who doesn't object. Raise GemmaError."""
    from gemma4_mlx.checkpoint.installed import cache_of

    cache = cache_of(offer.address)
    existing = next(folder for folder in (cache, *cache.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    check_room(cache, free, offer.size)
    if args.yes or not sys.stdin.isatty():
        return True
    print("download it? [Y/n] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("", "y", "yes")


def _download(address: Address, offer: "Offer") -> Path:
    """The folder of the model. Its large files come first, as they can go on where they ended. Raise GemmaError."""
    from gemma4_mlx.checkpoint.hub import download, hub_errors
    from gemma4_mlx.checkpoint.installed import blobs_of
    from gemma4_mlx.checkpoint.resume import LARGE, download_large

    if address.host != HUB:
        return download(offer.address)
    with hub_errors(address.name, address.revision):
        for name in [name for name, count in offer.files.items() if count >= LARGE]:
            download_large(address.name, name, offer.address.revision or "main", blobs_of(address))
    # By its branch, so that the cache knows what that stands for; what is left is small.
    return download(address, bars=False)


def _mend(address: Address, folder: Path) -> None:
    """Download again what the cache takes for whole and isn't. Raise GemmaError if it isn't whole even then."""
    from gemma4_mlx.checkpoint.hub import hub_errors
    from gemma4_mlx.checkpoint.unfinished import check_finished, faults

    damaged = [fault.name for fault in faults(folder) if (folder / fault.name).is_file()]
    if damaged and address.host == HUB:
        from huggingface_hub import hf_hub_download

        for name in damaged:
            note(f"{name} is damaged and is downloaded again")
            with hub_errors(address.name, address.revision):
                hf_hub_download(address.name, name, revision=folder.name, force_download=True)
    check_finished(folder, came_whole=True)
