"""Where a model is to be had, as people write it: a Hub name or address, a Kaggle name or address -> one `Address`.

Its own file because commands read addresses before anything heavy is imported.
"""

import os
import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from gemma4_mlx.errors import GemmaError, UsageError, shortened

HUB_HOSTS = ("huggingface.co", "hf.co")
KAGGLE_HOSTS = ("kaggle.com",)
HUB, KAGGLE = "hub", "kaggle"
NANO = "nano"
"""What the built-in model is called."""

KAGGLE_PREFIX = re.compile(r"kaggle:/{0,2}(?:models/)?")
OTHER_KINDS = ("datasets", "spaces", "kernels", "buckets", "collections", "papers", "docs", "blog")
"""First parts of Hub addresses that lead to no model."""

WITH_REVISION = ("tree", "blob", "resolve", "raw", "blame", "commit", "commits", "revision")
"""Parts of a Hub address after which a revision stands."""

PART = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?", re.ASCII)
FRAMEWORK = "transformers"


@dataclass(frozen=True, slots=True)
class Address:
    """A model that can be downloaded.

    Attributes:
        host: HUB or KAGGLE.
        name: owner/name on the Hub; owner/model/framework/variation on Kaggle.
        revision: branch, tag or commit on the Hub, the number of a version on Kaggle; None for the newest.
    """

    host: str
    name: str
    revision: str | None = None

    def __str__(self) -> str:
        """What `read_address` reads again."""
        if self.host == KAGGLE:
            return f"kaggle:{self.name}" + (f"/{self.revision}" if self.revision else "")
        return self.name + (f"@{self.revision}" if self.revision else "")


def read_address(text: str, revision: str | None = None) -> Address | None:
    """The model that a text names, at `revision` if it names none; None for what can only be a path.

    Raises:
        GemmaError: it is the address of something else.
        UsageError: it names another revision, or one that Kaggle can't have.
    """
    found = _read(text.strip())
    if found is None or revision is None or found.revision == revision:
        return None if found is None else _checked(found, text)
    if found.revision is not None:
        raise UsageError(
            f"{shortened(text)} names the revision {found.revision}, and {revision} is asked for: give one"
        )
    return _checked(Address(found.host, found.name, revision), text)


def is_repository_name(text: str) -> bool:
    """Whether the text has the form owner/name."""
    owner, _, name = text.partition("/")
    return all(part and part.replace("-", "").replace("_", "").replace(".", "").isalnum() for part in (owner, name))


def _read(text: str) -> Address | None:
    if prefix := KAGGLE_PREFIX.match(text):
        return _kaggle(text, text[prefix.end() :])
    if text.startswith("hf://"):
        return _hub(text, text.removeprefix("hf://").removeprefix("models/"))
    if text.startswith(("git@", "ssh://git@")):
        text = "https://" + text.removeprefix("ssh://").removeprefix("git@").replace(":", "/", 1)
    scheme, host, path = _split(text)
    if host and host in (*HUB_HOSTS, _own_endpoint()):
        return _hub(text, re.sub(r"^(?:api/)?models/", "", path))
    if host in KAGGLE_HOSTS:
        return _kaggle(text, path.removeprefix("models/"))
    if scheme:
        raise GemmaError(
            f"{shortened(text)}: no address of a model on huggingface.co or kaggle.com; give a folder, or owner/name"
        )
    name, _, revision = text.partition("@")
    return Address(HUB, name, revision or None) if is_repository_name(name) else None


def _split(text: str) -> tuple[str, str, str]:
    """Scheme, host and path of an address, which may lack its scheme; no host if it is no address."""
    scheme = re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text)
    if scheme is None and text.lower().removeprefix("www.").partition("/")[0] not in (*HUB_HOSTS, *KAGGLE_HOSTS):
        return "", "", ""
    try:
        parts = urlsplit(text if scheme else f"https://{text}")
        host, _ = parts.hostname or "", parts.port  # the port only shows whether it is one
    except ValueError as error:
        raise GemmaError(f"{shortened(text)}: no address ({error}); give a folder, or owner/name") from None
    return "address", host.removeprefix("www."), parts.path.strip("/")


def _own_endpoint() -> str:
    """The host of $HF_ENDPOINT, a mirror of the Hub; empty if there is none."""
    return urlsplit(os.environ.get("HF_ENDPOINT", "")).hostname or ""


def _hub(text: str, path: str) -> Address:
    parts = [part for part in path.split("/") if part]
    if parts and parts[0] in OTHER_KINDS:
        raise GemmaError(f"{shortened(text)}: the address of something else ({parts[0]}), not of a model")
    if len(parts) < 2:
        raise GemmaError(f"{shortened(text)}: no model there: owner/name is missing; copy the address of its page")
    owner, (name, _, revision) = parts[0], parts[1].partition("@")
    name = name.removesuffix(".git")
    if not is_repository_name(f"{owner}/{name}"):
        raise GemmaError(f"{shortened(text)}: {shortened(f'{owner}/{name}')} is no name of a Hub repository")
    after = parts[2:]
    if after and after[0] in WITH_REVISION:
        revision = _revision(after[1:])
    elif revision:
        revision = _revision([revision, *after])
    return Address(HUB, f"{owner}/{name}", revision or None)


def _revision(parts: list[str]) -> str:
    """A branch, tag or commit at the beginning of a path; of a pull request's or a conversion's three parts."""
    length = 3 if parts[:1] == ["refs"] else 1
    return unquote("/".join(parts[:length]))


def _kaggle(text: str, path: str) -> Address:
    parts = [part for part in path.partition("?")[0].split("/") if part]
    if len(parts) < 4:
        raise GemmaError(
            f"{shortened(text)}: a model on Kaggle has four parts: kaggle:google/gemma-4/{FRAMEWORK}/gemma-4-12b-it"
        )
    version = [part for part in parts[4:] if part != "versions"][:1]
    return Address(KAGGLE, "/".join([*parts[:2], parts[2].lower(), parts[3]]), version[0] if version else None)


def _checked(address: Address, text: str) -> Address:
    """The address, if its parts are what its host takes."""
    if address.host == HUB:
        return address
    if not all(PART.fullmatch(part) for part in address.name.split("/")):
        raise GemmaError(f"{shortened(text)}: {shortened(address.name)} is no name of a model on Kaggle")
    if address.revision is not None and not re.fullmatch(r"[1-9][0-9]{0,8}", address.revision, re.ASCII):
        raise UsageError(f"{shortened(address.revision)}: a version on Kaggle is a number")
    return address
