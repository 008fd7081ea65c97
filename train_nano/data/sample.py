"""What a generator returns: a conversation, its media and the answer that the model should give."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from train_nano import media
from train_nano.data.outlines import SHAPES
from train_nano.data.vocabulary import VOCABULARY

END = "<turn|>"

# Auxiliary classes of a media token: 0 nothing, then figures, shapes, spoken words, and "a tone sounds here".
FIGURES = "0123456789"
SHAPE_CLASS = 1 + len(FIGURES)
WORD_CLASS = SHAPE_CLASS + len(SHAPES) + 1  # one more for shapes without a name
TONE_CLASS = WORD_CLASS + len(VOCABULARY)
AUX_CLASSES = TONE_CLASS + 1


@dataclass(slots=True)
class Picture:
    """uint8 patches [n, 6912], positions [n, 2] and the auxiliary class of every patch [n]."""

    patches: np.ndarray
    xy: np.ndarray
    aux: np.ndarray


@dataclass(slots=True)
class Clip:
    """Audio frames [n, 640] and the auxiliary class of every frame [n], -1 where unknown."""

    frames: np.ndarray
    aux: np.ndarray


@dataclass(slots=True)
class Video:
    """The frames that the model sees and their times in seconds."""

    pictures: list[Picture]
    seconds: list[float]


@dataclass(slots=True, kw_only=True)
class Sample:
    """One conversation up to the model's answer.

    Attributes:
        task: name under which the evaluation counts it.
        messages: as for a chat template; media parts are {"type": "image" | "audio" | "video"}.
        answer: text to produce, without the closing token.
        media: in order of appearance.
        thought: written before the answer when thinking is on.
        end: token that closes the answer.
        jumps: whether positions may jump inside the prompt, as if text were missing.
    """

    task: str
    messages: list[dict[str, Any]]
    answer: str
    media: list[Picture | Clip | Video] = field(default_factory=list)
    tools: list[dict[str, Any]] | None = None
    thought: str | None = None
    end: str = END
    jumps: bool = False


def picture(image: Image.Image, marks: list[tuple[float, float, int]], budget: int = media.BUDGET) -> Picture:
    """Cut an image; `marks` are (x, y, auxiliary class) with x, y as fractions of the image."""
    patches, xy = media.patches(image, budget)
    columns, rows = xy.max(0) + 1
    aux = np.zeros(len(patches), np.int64)
    for x, y, kind in marks:
        column, row = min(int(x * columns), columns - 1), min(int(y * rows), rows - 1)
        aux[row * columns + column] = kind
    return Picture(patches, xy, aux)


def user(text: str, before: list[str] | None = None, after: list[str] | None = None) -> dict[str, Any]:
    """A user turn: media kinds before the text and after it."""
    parts: list[dict[str, Any]] = [{"type": kind} for kind in before or []]
    parts.append({"type": "text", "text": text})
    parts += [{"type": kind} for kind in after or []]
    return {"role": "user", "content": parts if len(parts) > 1 else text}
