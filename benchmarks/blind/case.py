"""One blind case, and how an answer to it is judged: as a reader would, not to the letter."""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

COLOURS = ["red", "orange", "yellow", "green", "blue", "purple", "pink", "black", "white"]
SHAPES = ["circle", "square", "triangle", "star", "cross", "diamond", "heart"]
PLACES = ["top left", "top right", "bottom left", "bottom right", "top", "bottom", "left", "right", "center"]
COUNTS = ["zero", "one", "two", "three", "four", "five"]
Judge = Callable[[str], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Messages with media in them, and whether what is said is right.

    Attributes:
        image_tokens: the budget of an image; max_frames: of a film. None leaves the checkpoint's.
        transcript: what was spoken, if the errors in words are counted too.
    """

    messages: list[dict[str, Any]]
    right: Judge
    tools: list[dict[str, Any]] = field(default_factory=list)
    thinking: bool = False
    image_tokens: int | None = None
    max_frames: int | None = None
    transcript: str = ""


Maker = Callable[[random.Random], Case]


def listed(text: str) -> list[str]:
    return text.split()


def words(said: str) -> list[str]:
    return re.findall(r"[a-z']+|-?\d+(?:\.\d+)?", said.lower())


def named(said: str, known: list[str]) -> list[str]:
    """Which of `known` the answer names, in order; a plural counts."""
    found = [word.removesuffix("es") if word == "crosses" else word.removesuffix("s") for word in words(said)]
    plain = words(said)
    return [k for pair in zip(plain, found, strict=True) for k in known if k in pair]


def refuses(said: str) -> bool:
    return "can't tell" in said.lower()


def says(*things: str, known: list[str]) -> Judge:
    """The answer names exactly these of `known`, in this order."""
    return lambda said: named(said, known) == list(things)


def says_place(place: str) -> Judge:
    """The answer names this place and no other."""

    def right(said: str) -> bool:
        found = next((p for p in PLACES if p in said.lower().replace("middle", "center").replace("-", " ")), None)
        return found == place

    return right


def says_number(value: int | str) -> Judge:
    """The last number in the answer, in figures or as a word, is this one."""

    def right(said: str) -> bool:
        numbers = [str(COUNTS.index(w)) if w in COUNTS else w for w in words(said)]
        found = [w for w in numbers if w.lstrip("-").replace(".", "").isdigit()]
        return bool(found) and found[-1] == str(value)

    return right


def word_errors(said: str, true: str) -> int:
    """Edit distance in words."""
    a, b = said.lower().replace(",", " ").rstrip(".").split(), true.lower().split()
    row = list(range(len(b) + 1))
    for i, x in enumerate(a):
        previous, row[0] = row[:], i + 1
        for j, y in enumerate(b):
            row[j + 1] = min(previous[j + 1] + 1, row[j] + 1, previous[j] + (x != y))
    return row[-1]


def all_of(*judges: Judge) -> Judge:
    return lambda said: all(judge(said) for judge in judges)


def exactly(text: str) -> Judge:
    return lambda said: said.strip() == text.strip()


def contains(text: str) -> Judge:
    return lambda said: text.lower() in said.lower()


def asked(text: str, *media: tuple[str, Any]) -> dict[str, Any]:
    """A user's turn: images and films before the text, sounds after it."""
    before = [{"type": kind, kind: item} for kind, item in media if kind != "audio"]
    after = [{"type": kind, kind: item} for kind, item in media if kind == "audio"]
    return {"role": "user", "content": [*before, {"type": "text", "text": text}, *after]}


def answered(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}
