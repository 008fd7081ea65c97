"""A path or a Hub repository's name -> a folder on disk, downloaded with resume where needed."""

from collections.abc import Sequence
from pathlib import Path

from gemma4_mlx.errors import GemmaError

MODEL_FILES = ("*.json", "*.jinja", "model*.safetensors")
PROMPT_FILES = ("*.json", "*.jinja")


def resolve(
    path_or_repo: str, *, revision: str | None = None, offline: bool = False, files: Sequence[str] = MODEL_FILES
) -> Path:
    """The folder of a checkpoint: a local one as it is, a repository from the cache or the Hub.

    Honours HF_HOME, HF_HUB_OFFLINE and HF_TOKEN. Raises GemmaError with what went wrong and what to do.
    """
    folder = Path(path_or_repo).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists():
        raise GemmaError(f"{path_or_repo}: a file; give the folder of a checkpoint, or a Hub repository's name")
    if not _is_repository_name(path_or_repo):
        raise GemmaError(f"{path_or_repo}: no such folder, nor the name of a Hub repository (owner/name)")
    return _download(path_or_repo, revision, offline, files)


def _download(repo: str, revision: str | None, offline: bool, files: Sequence[str]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        return Path(snapshot_download(repo, revision=revision, local_files_only=offline, allow_patterns=list(files)))
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
        raise GemmaError(f"{repo}: download failed ({' '.join(str(error).split())}); run it again to resume") from None


def _is_repository_name(text: str) -> bool:
    owner, _, name = text.partition("/")
    return all(part and part.replace("-", "").replace("_", "").replace(".", "").isalnum() for part in (owner, name))
