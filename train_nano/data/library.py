"""Real text from the packages of Debian and Python that training needs anyway: prose, code, words.

`collect` gathers it once; what the evaluation reads (`benchmarks/blind`) is left out by file.
"""

import gzip
import json
import random
import re
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from train_nano.settings import TEXTS, missing

LICENCES = ["Apache-2.0", "BSD", "CC0-1.0", "GPL-1", "GPL-2", "GPL-3", "LGPL-2", "LGPL-2.1", "LGPL-3", "MPL-1.1"]
HELD_OUT_LICENCES = ["Artistic", "GFDL-1.2", "GFDL-1.3", "MPL-2.0"]
HELD_OUT_MODULES = ["argparse", "asyncio", "calendar", "email", "http", "json", "textwrap", "unittest", "zipfile"]
_SHORTEST, _LONGEST = 40, 700  # characters of a paragraph
_PARAGRAPHS, _CODE = 24000, 12000


def _read(file: Path) -> str:
    data = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    return data.decode("utf-8", "ignore")


def paragraphs(text: str) -> Iterator[str]:
    """Paragraphs of plain English, each on one line."""
    for block in re.split(r"\n\s*\n", text):
        line = " ".join(block.split())
        letters = sum(c.isalpha() or c == " " for c in line)
        if _SHORTEST <= len(line) <= _LONGEST and line.isascii() and letters > 0.85 * len(line):
            yield line


def _prose_files() -> list[Path]:
    licences = [Path("/usr/share/common-licenses") / name for name in LICENCES]
    documents = sorted(Path("/usr/share/doc").glob("*/*"))
    named = [f for f in documents if re.search(r"README|copyright|NEWS|FAQ|TODO|\.txt", f.name) and f.is_file()]
    return [*licences, *named, *Path("/usr/share/state").glob("us-*")]


def _modules() -> list[Path]:
    root = Path(sysconfig.get_paths()["stdlib"])
    files = [*root.glob("*.py"), *root.glob("*/*.py")]
    kept = [*HELD_OUT_MODULES, "site-packages", "idlelib", "test", "lib2to3", "encodings"]
    return sorted(f for f in files if f.relative_to(root).parts[0].removesuffix(".py") not in kept)


def _docstrings(source: str) -> Iterator[str]:
    for found in re.findall(r'"""(.*?)"""', source, re.DOTALL):
        yield from paragraphs(found)


def code(source: str) -> Iterator[str]:
    """Pieces of one to six lines of code."""
    lines = [line.rstrip() for line in source.splitlines()]
    at = 0
    while at < len(lines):
        size = 1 + (at * 7919) % 6
        piece = "\n".join(line for line in lines[at : at + size] if line)
        if 12 <= len(piece) <= 300 and piece.isascii() and "\t" not in piece and '"""' not in piece:
            yield piece
        at += size


def _sample(rng: random.Random, items: Iterator[str], count: int) -> list[str]:
    unique = sorted(set(items))
    return rng.sample(unique, min(count, len(unique)))


def collect() -> dict[str, list[str]]:
    """Unique paragraphs and pieces of code of every source, and words."""
    rng = random.Random(3)
    sources = [_read(f) for f in _modules()]
    prose = _sample(rng, (p for f in _prose_files() for p in paragraphs(_read(f))), _PARAGRAPHS)
    prose += _sample(rng, (p for source in sources for p in _docstrings(source)), _PARAGRAPHS // 3)
    words = Path("/usr/share/dict/american-english").read_text().split()
    return {
        "prose": prose,
        "code": _sample(rng, (piece for source in sources for piece in code(source)), _CODE),
        "words": sorted({w for w in words if w.isascii() and w.isalpha() and 2 < len(w) < 11}),
    }


def write(file: Path = TEXTS) -> None:
    found = collect()
    file.write_text(json.dumps(found))
    print(", ".join(f"{len(items):,} {name}" for name, items in found.items()), flush=True)


@cache
def _texts() -> dict[str, list[str]]:
    if not TEXTS.exists():
        raise missing(TEXTS)
    return json.loads(TEXTS.read_text())


def paragraph(rng: random.Random) -> str:
    return rng.choice(_texts()["prose"])


def sentence(rng: random.Random) -> str:
    """A sentence of a paragraph, or a part of a long one."""
    found = [s for s in re.split(r"(?<=[.!?;:])\s+", paragraph(rng)) if len(s) > 11]
    said = rng.choice(found) if found else paragraph(rng)
    return said if len(said) < 160 else " ".join(said.split()[: rng.randint(5, 18)])


def snippet(rng: random.Random) -> str:
    return rng.choice(_texts()["code"])


def word(rng: random.Random) -> str:
    return rng.choice(_texts()["words"])
