"""The README.md of a converted checkpoint."""

import re
import shlex
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gemma4_mlx import __version__
from gemma4_mlx.checkpoint.address import HUB, KAGGLE, NANO, Address
from gemma4_mlx.checkpoint.quantize import Quantization
from gemma4_mlx.errors import visible
from gemma4_mlx.files import JSON_BYTES, read_limited

CARD_FILE = "README.md"

REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
PLAIN = re.compile(r"(?!www\.)[^\W_]+(?:[-._][^\W_]+)*", re.IGNORECASE)
"""Names that Markdown shows as they are."""

LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]*", re.ASCII)
GOOGLES, GOOGLES_LICENSE = "google/gemma-4", "apache-2.0"
"""How the names of Google's own repositories begin, and their license."""

LINKS = {HUB: "https://huggingface.co/{}", KAGGLE: "https://www.kaggle.com/models/{}"}

CARD = """\
---
{license}library_name: mlx
pipeline_tag: {task}
{base}tags:
- mlx
- gemma4_unified
---

# {name} in MLX format

Made from {source} by gemma4-mlx {version}: {what}.

    python -m gemma4_mlx.convert {command}

Ask it about {inputs}, with gemma4_mlx installed from its repository (`pip install .` in a clone of it):

    python -m gemma4_mlx.generate --model PATH_OR_REPO --prompt {question}

{rights}
"""


@dataclass(frozen=True, slots=True)
class Source:
    """What is known of a conversion's source.

    Attributes:
        address: where it was downloaded from, None for a folder.
        license: as its card says; empty if it doesn't.
        base_model: the repository that it was made from itself, as its card says; empty if it doesn't.
    """

    address: Address | None = None
    license: str = ""
    base_model: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """What came out: bits by part in words (empty if not known), and whether it reads images and audio."""

    bits: str = ""
    has_vision: bool = True
    has_audio: bool = True

    @property
    def inputs(self) -> str:
        """What it can be asked about."""
        vision, audio = ["images"] * self.has_vision, ["audio"] * self.has_audio
        named = ["text", *vision, *audio, *(["video"] if self.has_vision else [])]
        return " and ".join([", ".join(named[:-1]), named[-1]]) if named[1:] else named[0]


def read_source(folder: Path, address: Address | None = None) -> Source:
    """What the card in a source's folder says of it. What can't be read is not known."""
    from huggingface_hub import metadata_load

    given: Any = None
    with suppress(Exception):  # a card is somebody else's, and no part of what is converted
        read_limited(folder / CARD_FILE, JSON_BYTES)
        given = metadata_load(folder / CARD_FILE)
    given = given if isinstance(given, dict) else {}
    bases = given.get("base_model")
    base = bases[0] if isinstance(bases, list) and bases else bases
    license = given.get("license")
    return Source(
        address,
        license if isinstance(license, str) and LICENSE.fullmatch(license) else "",
        base if isinstance(base, str) and REPOSITORY.fullmatch(base) else "",
    )


def model_card(
    origin: str,
    quantization: Quantization | None,
    dequantized: bool,
    dtype: str | None,
    source: Source | None = None,
    result: Result | None = None,
) -> str:
    """Says what the checkpoint was made from, how, and how to run it. `origin` is a repository or a folder's name."""
    is_repository = REPOSITORY.fullmatch(origin) is not None
    address = Address(HUB, origin) if is_repository else None
    source = source or Source(address)
    address = source.address or address
    result = result or Result()
    license = source.license or _known_license(origin, address)
    base = address.name if address and address.host == HUB else source.base_model
    return CARD.format(
        license=f"license: {license}\n" if license else "",
        task="any-to-any" if result.has_vision or result.has_audio else "text-generation",
        base=f"base_model: {base}\n" if base else "",
        name=_escaped((address.name if address else origin).rpartition("/")[2] or origin),
        source=_linked(origin, address),
        version=__version__,
        what=_what(quantization, dequantized, dtype) + (f" ({result.bits})" if result.bits else ""),
        command=" ".join(_command(origin, address, quantization, dequantized, dtype)),
        inputs=result.inputs,
        question='"What is in this picture?" --image photo.jpg' if result.has_vision else '"What is MLX?"',
        rights=_rights(origin, address, source, license),
    )


def _known_license(origin: str, address: Address | None) -> str:
    is_googles = address is not None and address.name.startswith(GOOGLES)
    return GOOGLES_LICENSE if is_googles or (origin == NANO and address is None) else ""


def _linked(origin: str, address: Address | None) -> str:
    if address is None:
        return _escaped(origin)
    revision = f" at {_escaped(address.revision)}" if address.revision else ""
    return f"[{address.name}]({LINKS[address.host].format(address.name)}){revision}"


def _rights(origin: str, address: Address | None, source: Source, license: str) -> str:
    """Whose weights they are, and under which license, as far as it is known."""
    if origin == NANO and address is None:
        return (
            "The weights are those of nano, the demonstration model of gemma4_mlx, which was trained from random ones: "
            "they are no copy of Google's Gemma. They are under the Apache License 2.0."
        )
    if address is not None and address.name.startswith(GOOGLES):
        return "The weights are a changed copy of Google's Gemma 4, under the Apache License 2.0."
    base = f", which was made from {source.base_model}" if source.base_model else ""
    told = f"whose card names the license {license}" if license else "whose license is not known here: ask for it there"
    return f"The weights are a changed copy of those of {_linked(origin, address)}{base}, {told}."


def _escaped(name: str) -> str:
    """A name in which no Markdown and no HTML has effect."""
    line = visible(name)
    return line if PLAIN.fullmatch(line) else "`" + line.replace("`", "'") + "`"


def _what(quantization: Quantization | None, dequantized: bool, dtype: str | None) -> str:
    rest = f", the rest in {dtype}" if dtype else ""
    if quantization is None:
        return ("dequantized" if dequantized else "not quantized") + (f", in {dtype}" if dtype else "")
    bits = f"{quantization.bits}-bit {quantization.mode} quantization in groups of {quantization.group_size}"
    if quantization.spared_bits:
        bits += f", {quantization.spared_bits} bits for the weights that suffer most"
    return f"{bits} of the language model{rest}"


def _command(
    origin: str, address: Address | None, quantization: Quantization | None, dequantized: bool, dtype: str | None
) -> list[str]:
    words = ["--hf-path", shlex.quote(visible(str(address or origin))), "--mlx-path", "OUT"]
    if quantization and quantization.spared_bits:
        words += ["-q", "--quant-predicate", f"mixed_{quantization.bits}_{quantization.spared_bits}"]
        words += ["--q-group-size", str(quantization.group_size)]
    elif quantization:
        words += ["-q", "--q-mode", quantization.mode, "--q-bits", str(quantization.bits)]
        words += ["--q-group-size", str(quantization.group_size)]
    return words + ["-d"] * dequantized + (["--dtype", dtype] if dtype else [])
