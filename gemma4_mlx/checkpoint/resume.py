"""Large files of a Hub repository -> its cache, going on where an earlier download ended.

Its own file because huggingface_hub begins a file anew if the process that downloaded it has ended.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from gemma4_mlx.errors import GemmaError
from gemma4_mlx.files import try_lock

LARGE = 10_000_000  # bytes; smaller files are soon downloaded again
SUFFIX = ".gemma4_mlx.incomplete"


def download_large(repo: str, file: str, commit: str, blobs: Path) -> None:
    """Bring a file into the folder of a repository's blobs, where huggingface_hub finds it.

    Raises what huggingface_hub raises, and GemmaError if another process is at it, or other bytes came.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    url = hf_hub_url(repo, file, revision=commit)
    known = get_hf_file_metadata(url)
    if known.etag is None or known.size is None or (blobs / known.etag).exists():
        return
    blobs.mkdir(parents=True, exist_ok=True)
    part = blobs / f"{known.etag}{SUFFIX}"
    with _sole_writer(part, file) as handle:
        begin = handle.seek(0, os.SEEK_END)
        if begin > known.size:
            begin = handle.truncate(0)
        if begin < known.size:
            headers = build_hf_headers()
            http_get(url, handle, resume_size=begin, headers=headers, expected_size=known.size, displayed_filename=file)
        handle.flush()
        _check(part, known.etag, file)
        part.replace(blobs / known.etag)


@contextmanager
def _sole_writer(part: Path, file: str) -> Iterator[BinaryIO]:
    """The file to append to, locked if the disk can lock. Raise GemmaError if another process has it."""
    with part.open("ab") as handle:
        if not try_lock(handle.fileno(), file):
            raise GemmaError(f"{file}: another process downloads it; wait for that")
        yield handle


def _check(part: Path, tag: str, file: str) -> None:
    """Compare a file with its checksum, if its tag is one. Raise GemmaError and remove it if it is another."""
    if len(tag) != hashlib.sha256().digest_size * 2:
        return
    with part.open("rb") as whole:
        digest = hashlib.file_digest(whole, "sha256").hexdigest()
    if digest != tag:
        part.unlink()
        raise GemmaError(f"{file}: other bytes came than were to come; run it again to download it anew")
