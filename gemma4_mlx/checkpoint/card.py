"""The README.md of a converted checkpoint."""

import re
import shlex

from gemma4_mlx import __version__
from gemma4_mlx.checkpoint.quantize import Quantization
from gemma4_mlx.errors import visible

REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
PLAIN = re.compile(r"(?!www\.)[^\W_]+(?:[-._][^\W_]+)*", re.IGNORECASE)
"""Names that Markdown shows as they are."""

CARD = """\
---
license: apache-2.0
library_name: mlx
pipeline_tag: any-to-any
{base}tags:
- mlx
- gemma4_unified
---

# {name} in MLX format

Made from {source} by gemma4-mlx {version}: {what}.

    python -m gemma4_mlx.convert {command}

Ask it about text, images, audio and video:

    pip install gemma4-mlx
    python -m gemma4_mlx.generate --model PATH_OR_REPO --prompt "What is in this picture?" --image photo.jpg

The weights are a changed copy of Google's Gemma 4, under the Apache License 2.0.
"""


def model_card(origin: str, quantization: Quantization | None, dequantized: bool, dtype: str | None) -> str:
    """Says what the checkpoint was made from, how, and how to run it. `origin` is a repository or a folder's name."""
    is_repository = REPOSITORY.fullmatch(origin) is not None
    return CARD.format(
        base=f"base_model: {origin}\n" if is_repository else "",
        name=_escaped(origin.rpartition("/")[2] or origin),
        source=f"[{origin}](https://huggingface.co/{origin})" if is_repository else _escaped(origin),
        version=__version__,
        what=_what(quantization, dequantized, dtype),
        command=" ".join(_command(origin, quantization, dequantized, dtype)),
    )


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


def _command(origin: str, quantization: Quantization | None, dequantized: bool, dtype: str | None) -> list[str]:
    words = ["--hf-path", shlex.quote(visible(origin)), "--mlx-path", "OUT"]
    if quantization and quantization.spared_bits:
        words += ["-q", "--quant-predicate", f"mixed_{quantization.bits}_{quantization.spared_bits}"]
        words += ["--q-group-size", str(quantization.group_size)]
    elif quantization:
        words += ["-q", "--q-mode", quantization.mode, "--q-bits", str(quantization.bits)]
        words += ["--q-group-size", str(quantization.group_size)]
    return words + ["-d"] * dequantized + (["--dtype", dtype] if dtype else [])
