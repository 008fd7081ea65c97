"""A model on Kaggle -> its folder in the cache of kagglehub, which downloads it.

Its own file because kagglehub is an extra, prints on stdout, and says errors over several lines.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from gemma4_mlx.checkpoint.address import FRAMEWORK, Address
from gemma4_mlx.errors import GemmaError, MissingPackageError, note, one_line, only_errors, shortened

NO_TERMS = 'accept its terms at {page}, and set KAGGLE_API_TOKEN (from "API tokens" on kaggle.com/settings)'


def download(address: Address, offline: bool = False) -> Path:
    """The folder of a model, downloaded with resume if it isn't whole in the cache.

    Without a version that is the newest one; if Kaggle can't be reached, the newest that is in the cache, with a note.

    Raises:
        GemmaError: it is in no cache and can't be downloaded.
    """
    found = cached(address)
    if found is not None and (offline or address.revision):
        return found
    if offline:
        raise GemmaError(f"{address}: it is not in the cache; download it once with a network, or give a folder")
    try:
        with _kagglehub(address) as library:
            _check_framework(address)
            return Path(library.model_download(_handle(address)))
    except GemmaError as error:
        if found is None or not isinstance(error.__cause__, ConnectionError):
            raise
        note(f"{address}: Kaggle can't be reached; version {found.name} of the cache is used")
        return found


def download_file(address: Address, name: str) -> Path:
    """One file of a model, downloaded if it isn't in the cache. Raise GemmaError."""
    with _kagglehub(address) as library:
        return Path(library.model_download(_handle(address), path=name))


def files(address: Address) -> tuple[int, Mapping[str, int]]:
    """The version that would be downloaded, and the bytes of each of its files. Raise GemmaError."""
    with _kagglehub(address) as library:
        from kagglehub.clients import build_kaggle_client
        from kagglehub.handle import parse_model_handle

        handle = parse_model_handle(_handle(address))
        _check_framework(address)
        with build_kaggle_client() as client:
            service = client.models.model_api_client
            version = handle.version or library.exceptions.handle_call(
                lambda: service.get_model_instance(_request("ApiGetModelInstanceRequest", handle)).version_number
            )
            return version, dict(_listed(library, service, handle.with_version(version)))


def _check_framework(address: Address) -> None:
    """Raise GemmaError if Kaggle has no framework of this name."""
    from kagglehub.handle import parse_model_handle

    handle = parse_model_handle(_handle(address))
    try:
        handle.framework_enum()
    except ValueError:
        cure = f"copy the address of its page, or try {FRAMEWORK}"
        raise GemmaError(f"{address}: {shortened(handle.framework)} is no framework on Kaggle; {cure}") from None


def _listed(library: Any, service: Any, handle: Any) -> Iterator[tuple[str, int]]:
    """Names and sizes of all files of a version, page by page."""
    request = _request("ApiListModelInstanceVersionFilesRequest", handle)
    request.version_number = handle.version
    while True:
        page = library.exceptions.handle_call(lambda: service.list_model_instance_version_files(request), handle)
        yield from ((file.name, file.size) for file in page.files)
        if not page.next_page_token or page.next_page_token == request.page_token:
            return
        request.page_token = page.next_page_token


def _request(kind: str, handle: Any) -> Any:
    from kagglesdk.models.types import model_api_service

    request = getattr(model_api_service, kind)()
    request.owner_slug, request.model_slug = handle.owner, handle.model
    request.framework, request.instance_slug = handle.framework_enum(), handle.variation
    return request


def cache_folder() -> Path:
    """Where kagglehub keeps models."""
    return Path(os.environ.get("KAGGLEHUB_CACHE") or os.path.expanduser("~/.cache/kagglehub")).absolute() / "models"


def cached(address: Address) -> Path | None:
    """The folder of a version that is whole in the cache: the one that is asked for, else the newest."""
    versions = cache_folder() / address.name
    numbers = [address.revision] if address.revision else sorted(_numbers(versions), key=int, reverse=True)
    whole = (versions / number for number in numbers if (versions / f"{number}.complete").exists())
    return next((folder for folder in whole if folder.is_dir()), None)


def _numbers(folder: Path) -> list[str]:
    try:
        return [name for name in os.listdir(folder) if name.isdecimal()]
    except OSError:
        return []


def _handle(address: Address) -> str:
    return address.name + (f"/{address.revision}" if address.revision else "")


@contextmanager
def _kagglehub(address: Address) -> Iterator[Any]:
    """The library, which prints nothing on stdout in the block; its errors become one line.

    Raises:
        GemmaError: the library lacks, or what goes wrong in the block, with a ConnectionError as its cause if there is
            no way to Kaggle.
    """
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")  # bars are for terminals
    with redirect_stdout(sys.stderr):
        try:
            import kagglehub
            import requests
        except ImportError:
            raise MissingPackageError(f"{address}: models on Kaggle", "kagglehub>=1.0") from None
        try:
            with only_errors("kagglehub"):  # it logs to the stdout that it found when it was imported
                yield kagglehub
        except (requests.ConnectionError, requests.Timeout) as error:
            told = f"{address}: Kaggle can't be reached ({shortened(one_line(error))}); run it again to resume"
            raise GemmaError(told) from ConnectionError()
        except requests.HTTPError as error:
            raise GemmaError(f"{address}: {_refusal(address, error)}") from None
        except kagglehub.exceptions.UnauthenticatedError:
            raise GemmaError(f"{address}: Kaggle asks who you are: {_terms(address)}") from None
        except (OSError, ValueError, kagglehub.exceptions.DataCorruptionError) as error:
            raise GemmaError(f"{address}: download failed ({shortened(one_line(error))}); run it again") from None


def _refusal(address: Address, error: Any) -> str:
    """What an HTTP error of Kaggle means."""
    code = getattr(error.response, "status_code", None)
    if code in (401, 403):
        return f"Kaggle refuses it (HTTP {code}): {_terms(address)}"
    if code == 404:
        version = f", or no version {address.revision} of it" if address.revision else ""
        return f"there is no such model on Kaggle{version}; copy the address of its page"
    return f"download failed ({shortened(one_line(error))}); run it again to resume"


def _terms(address: Address) -> str:
    return NO_TERMS.format(page=f"https://www.kaggle.com/models/{address.name}")
