"""What the model reads: token ids, and the spans of them that stand for media."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from gemma4_mlx.config import ModelConfig
from gemma4_mlx.errors import GemmaError
from gemma4_mlx.media.images import Patches

MediaKind = Literal["image", "video", "audio"]


@dataclass(frozen=True, slots=True, eq=False)
class Span:
    """A run of placeholder tokens, and the features that replace their embeddings, one row a token.

    Attributes:
        kind: "image", "video" (one frame of it) or "audio" (one clip).
        start: position of the first placeholder in the prompt.
        features: Patches for images and frames; raw frames `(n, samples_per_token)` for audio.
    """

    kind: MediaKind
    start: int
    features: Patches | np.ndarray

    @property
    def stop(self) -> int:
        """Position after the last placeholder."""
        return self.start + len(self._arrays()[0])

    def place(self) -> "Place":
        """Where the span lies and what is in it, without the features themselves."""
        return Place(self.kind, self.start, self.stop, self.digest())

    def digest(self) -> str:
        """SHA-256 of kind, shapes and features, in hexadecimal digits."""
        hashed = hashlib.sha256(self.kind.encode())
        for array in self._arrays():
            hashed.update(f" {array.dtype.str} {array.shape} ".encode())
            hashed.update(np.ascontiguousarray(array).data)
        return hashed.hexdigest()

    def _arrays(self) -> tuple[np.ndarray, ...]:
        features = self.features
        return (features.pixels, features.positions) if isinstance(features, Patches) else (features,)


@dataclass(frozen=True, slots=True)
class Place:
    """A span without its features: what is remembered of one that was read. Equal ones stand for the same media."""

    kind: MediaKind
    start: int
    stop: int
    digest: str


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """Token ids with placeholders expanded, and the media spans in order of position.

    `turns` are the positions where turns begin, the last of them the model's own; `notes` say what of the messages and
    their media could only be used in part, or otherwise than given.
    """

    ids: Sequence[int]
    spans: Sequence[Span] = field(default_factory=tuple)
    turns: Sequence[int] = ()
    notes: Sequence[str] = ()

    def vision_blocks(self) -> list[tuple[int, int]]:
        """`(start, stop)` of each contiguous run of image and video placeholders: spans that touch are one block."""
        return vision_blocks(self.spans)

    def whole_runs(self) -> list[tuple[int, int]]:
        """`(start, stop)` of each run that a chunk edge must not split: vision blocks and audio clips."""
        return whole_runs(self.spans)


def vision_blocks(spans: Iterable[Span | Place]) -> list[tuple[int, int]]:
    """`(start, stop)` of each contiguous run of image and video placeholders."""
    return merge_touching((span.start, span.stop) for span in spans if span.kind != "audio")


def whole_runs(spans: Sequence[Span | Place]) -> list[tuple[int, int]]:
    """`(start, stop)` of each run that is read as a whole: vision blocks and audio clips."""
    audio = [(span.start, span.stop) for span in spans if span.kind == "audio"]
    return sorted(vision_blocks(spans) + audio)


def merge_touching(runs: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Joins runs where one begins at the other's end. `runs` are in order."""
    merged: list[tuple[int, int]] = []
    for start, stop in runs:
        first = merged.pop()[0] if merged and merged[-1][1] == start else start
        merged.append((first, stop))
    return merged


def check_prompt(prompt: Prompt, config: ModelConfig) -> None:
    """Raise GemmaError for a prompt that the model can't read: MLX would look outside of its arrays for it.

    Ids are the model's, spans lie in order on placeholders of their kind, and their features have the model's shape.
    """
    ids = _whole_numbers("ids", prompt.ids, config.text.vocab_size)
    _whole_numbers("turns", prompt.turns, len(ids) + 1)
    tokens, end = config.tokens, 0
    placeholders = {"image": tokens.image, "video": tokens.video, "audio": tokens.audio}
    for span in prompt.spans:
        if not isinstance(span, Span) or span.kind not in placeholders:
            raise GemmaError("the prompt's spans must be of the class Span, and their kind image, video or audio")
        _check_features(span, config)
        _whole_numbers("spans", [span.start], len(ids))
        inside = end <= span.start and span.stop <= len(ids)
        if not inside or (ids[span.start : span.stop] != placeholders[span.kind]).any():
            raise GemmaError(
                f"the prompt's span from {span.start} to {span.stop} does not lie on placeholders of {span.kind}"
            )
        end = span.stop
    if not len(ids):
        raise GemmaError("the prompt has no ids")


def _whole_numbers(name: str, values: Sequence[int] | np.ndarray, limit: int) -> np.ndarray:
    """The values `(n,)`. Raise GemmaError unless all of them are whole numbers from 0 to below the limit."""
    try:
        array = np.asarray(values) if len(values) else np.zeros(0, np.int32)
    except (TypeError, ValueError, OverflowError):
        array = np.zeros((), np.float32)
    if array.ndim != 1 or array.dtype.kind not in "iu" or (array < 0).any() or (array >= limit).any():
        raise GemmaError(f"the prompt's {name} must be whole numbers from 0 to {limit - 1}")
    return array


def _check_features(span: Span, config: ModelConfig) -> None:
    """Raise GemmaError unless features are rows of finite numbers as wide as the model takes them, in its places."""
    features, vision, audio = span.features, config.vision, config.audio
    rows: object = features
    width = 0 if audio is None else audio.samples_per_token
    if span.kind != "audio":
        rows, width = getattr(features, "pixels", None), 0 if vision is None else vision.patch_size**2 * 3
    if not width:
        raise GemmaError(f"this checkpoint has no {'audio' if span.kind == 'audio' else 'vision'} input; leave it out")
    if not isinstance(rows, np.ndarray) or rows.ndim != 2 or rows.shape[1] != width or not len(rows):
        raise GemmaError(f"the prompt's features of {span.kind} are not rows of {width} numbers")
    if rows.dtype.kind not in "fiu" or not np.isfinite(rows).all():
        raise GemmaError(f"the prompt's features of {span.kind} are not all finite numbers")
    if isinstance(features, Patches) and vision is not None:
        _check_positions(features, vision.mm_posemb_size)


def _check_positions(patches: Patches, limit: int) -> None:
    positions = np.asarray(patches.positions)
    if positions.shape != (len(patches.pixels), 2):
        raise GemmaError(f"the prompt's positions of patches must have the shape {(len(patches.pixels), 2)}")
    _whole_numbers("positions of patches", positions.ravel(), limit)
