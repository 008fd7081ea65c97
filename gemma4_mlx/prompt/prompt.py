"""What the model reads: token ids, and the spans of them that stand for media."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

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
