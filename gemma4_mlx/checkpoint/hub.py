"""A path, or a model's name or address -> a folder on disk, downloaded with resume if needed."""

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gemma4_mlx.checkpoint.address import HUB, KAGGLE, NANO, Address, read_address
from gemma4_mlx.checkpoint.unfinished import check_finished
from gemma4_mlx.errors import GemmaError, one_line, only_errors, shortened
from gemma4_mlx.files import refused_locks_as_missing, system_reason

MODEL_FILES = ("*.json", "*.jinja", "model*.safetensors")

NANO_FOLDER = Path(__file__).parent.parent / "nano"
"""The built-in demonstration model."""

NANO_DRAFTER_FOLDER = NANO_FOLDER.with_name("nano_drafter")
"""Its drafter, which has the same name where a drafter is asked for."""


def resolve(path_or_repo: str, *, revision: str | None = None, offline: bool = False) -> Path:
    """The folder of a checkpoint: "nano" is built in, a local one is taken as it is, others are downloaded.

    A model on the Hub is given as owner/name, owner/name@revision or by its address; one on Kaggle as
    kaggle:owner/model/framework/variation or by its address. Honours HF_HOME, HF_HUB_OFFLINE and HF_TOKEN.

    Raises:
        GemmaError: what went wrong and what to do.
    """
    if path_or_repo == NANO:
        return NANO_FOLDER
    folder = local_folder(path_or_repo)
    is_downloaded = folder is None and not offline
    if folder is None:
        address = read_address(path_or_repo, revision)
        if address is None:
            raise GemmaError(f"{path_or_repo}: no such folder, nor the name of a Hub repository (owner/name)")
        folder = download(address, offline)
    check_finished(folder, came_whole=is_downloaded)
    return folder


def local_folder(path: str) -> Path | None:
    """The folder of this name, None if there is none. Raise GemmaError if it is a file or no path at all."""
    try:
        folder = Path(path).expanduser()
        if folder.is_dir():
            return folder
        is_file = folder.exists()
    except (OSError, RuntimeError, ValueError) as error:  # too long for a name; no such user; a zero character
        raise GemmaError(f"{shortened(path)}: no path of a folder ({one_line(error)})") from None
    if is_file:
        raise GemmaError(f"{path}: a file; give the folder of a checkpoint, or a Hub repository's name")
    return None


def download(address: Address, offline: bool = False, *, bars: bool = True) -> Path:
    """The folder of a model in the Hub's or Kaggle's cache; what it lacks is downloaded. Raise GemmaError.

    `bars` lets the Hub's library show its progress.
    """
    if address.host == KAGGLE:
        from gemma4_mlx.checkpoint import kaggle

        return kaggle.download(address, offline)
    return _download(address.name, address.revision, offline, bars)


def resolve_drafter(path_or_repo: str, *, revision: str | None = None, offline: bool = False) -> Path:
    """The folder of a drafter, as `resolve` finds it; "nano" is the built-in model's."""
    if path_or_repo == NANO:
        return NANO_DRAFTER_FOLDER
    return resolve(path_or_repo, revision=revision, offline=offline)


def _download(repo: str, revision: str | None, offline: bool, bars: bool) -> Path:
    from huggingface_hub import snapshot_download

    with hub_errors(repo, revision, offline, bars=bars), refused_locks_as_missing():
        return Path(
            snapshot_download(repo, revision=revision, local_files_only=offline, allow_patterns=list(MODEL_FILES))
        )


def fetch_card(address: Address) -> None:
    """Bring a repository's card into the cache, beside its other files. Without one, or a network, none comes."""
    from huggingface_hub import hf_hub_download

    with suppress(GemmaError), hub_errors(address.name, address.revision, bars=False):
        hf_hub_download(address.name, "README.md", revision=address.revision)


@contextmanager
def hub_errors(repo: str, revision: str | None, offline: bool = False, *, bars: bool = True) -> Iterator[None]:
    """Turn what the Hub's library raises in the block into a GemmaError; it shows bars in terminals only, if at all."""
    from huggingface_hub.errors import (  # type: ignore[attr-defined]  # HTTPError is the HTTP library's own
        GatedRepoError,
        HfHubHTTPError,
        HTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
        SafetensorsParsingError,
    )

    try:
        with _bars(bars and sys.stderr.isatty()), only_errors("huggingface_hub"):
            yield
    except GatedRepoError:
        raise GemmaError(f"{repo}: access must be granted on its Hub page; then set HF_TOKEN") from None
    except RepositoryNotFoundError:
        raise GemmaError(f"{repo}: no such folder, and no such repository on the Hub (or HF_TOKEN is needed)") from None
    except RevisionNotFoundError:
        raise GemmaError(f"{repo}: no revision {revision!r}") from None
    except LocalEntryNotFoundError:
        away = "" if offline else " and the Hub can't be reached"
        if _is_begun(repo, revision or "main"):
            cure = f"finish it with: gemma4-mlx pull {shlex.quote(str(Address(HUB, repo, revision)))}"
            raise GemmaError(f"{repo}: its download is unfinished{away}; {cure}") from None
        told = f"it is not in the cache{away}; download it once with a network, or give a folder"
        raise GemmaError(f"{repo}: {told}") from None
    except SafetensorsParsingError as error:
        raise GemmaError(f"{repo}: its weights are no safetensors files ({shortened(one_line(error))})") from None
    except (HfHubHTTPError, HTTPError, OSError, ValueError) as error:
        if isinstance(error, HTTPError) and getattr(error, "response", None) is None:  # nobody answered
            raise GemmaError(f"{repo}: the Hub can't be reached; try it again with a network") from None
        raise GemmaError(
            f"{repo}: download failed ({shortened(system_reason(error))}); run it again to resume"
        ) from None


@contextmanager
def _bars(shown: bool) -> Iterator[None]:
    """Show the progress of downloads in the block, or don't."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if shown or are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


def _is_begun(repo: str, revision: str) -> bool:
    """Whether the cache has a part of a revision."""
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}"
    known = (folder / "refs" / revision, folder / "snapshots" / revision)
    return any(path.exists() for path in known) or any((folder / "blobs").glob("*.incomplete"))
