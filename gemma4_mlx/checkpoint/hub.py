"""A path or a Hub repository's name -> a folder on disk, downloaded with resume where needed."""

import sys
from pathlib import Path

from gemma4_mlx.errors import GemmaError, one_line

MODEL_FILES = ("*.json", "*.jinja", "model*.safetensors")

NANO = "nano"
NANO_FOLDER = Path(__file__).parent.parent / "nano"
"""The built-in demonstration model."""

NANO_DRAFTER_FOLDER = NANO_FOLDER.with_name("nano_drafter")
"""Its drafter, which has the same name where a drafter is asked for."""


def resolve(path_or_repo: str, *, revision: str | None = None, offline: bool = False) -> Path:
    """The folder of a checkpoint: "nano" is built in, a local one is taken as it is, a repository is downloaded.

    Honours HF_HOME, HF_HUB_OFFLINE and HF_TOKEN. Raises GemmaError with what went wrong and what to do.
    """
    if path_or_repo == NANO:
        return NANO_FOLDER
    folder = Path(path_or_repo).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists():
        raise GemmaError(f"{path_or_repo}: a file; give the folder of a checkpoint, or a Hub repository's name")
    if not is_repository_name(path_or_repo):
        raise GemmaError(f"{path_or_repo}: no such folder, nor the name of a Hub repository (owner/name)")
    return _download(path_or_repo, revision, offline)


def resolve_drafter(path_or_repo: str, *, revision: str | None = None, offline: bool = False) -> Path:
    """The folder of a drafter, as `resolve` finds it; "nano" is the built-in model's."""
    if path_or_repo == NANO:
        return NANO_DRAFTER_FOLDER
    return resolve(path_or_repo, revision=revision, offline=offline)


def _download(repo: str, revision: str | None, offline: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )
    from huggingface_hub.utils.tqdm import disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()
    try:
        return Path(
            snapshot_download(repo, revision=revision, local_files_only=offline, allow_patterns=list(MODEL_FILES))
        )
    except GatedRepoError:
        raise GemmaError(f"{repo}: access must be granted on its Hub page; then set HF_TOKEN") from None
    except RepositoryNotFoundError:
        raise GemmaError(f"{repo}: no such folder, and no such repository on the Hub (or HF_TOKEN is needed)") from None
    except RevisionNotFoundError:
        raise GemmaError(f"{repo}: no revision {revision!r}") from None
    except LocalEntryNotFoundError:
        reason = "it is not in the cache" if offline else "it is not in the cache and the Hub can't be reached"
        raise GemmaError(f"{repo}: {reason}; download it once with a network, or give a folder") from None
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise GemmaError(f"{repo}: download failed ({one_line(error)}); run it again to resume") from None


def is_repository_name(text: str) -> bool:
    """Whether the text has the form owner/name."""
    owner, _, name = text.partition("/")
    return all(part and part.replace("-", "").replace("_", "").replace(".", "").isalnum() for part in (owner, name))
