"""What the model reads: token ids, and the spans of them that stand for media."""

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
        rows = self.features.pixels if isinstance(self.features, Patches) else self.features
        return self.start + len(rows)


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """Token ids with placeholders expanded, and the media spans in order of position."""

    ids: Sequence[int]
    spans: Sequence[Span] = field(default_factory=tuple)

    def vision_blocks(self) -> list[tuple[int, int]]:
        """`(start, stop)` of each contiguous run of image and video placeholders: spans that touch are one block."""
        return merge_touching((span.start, span.stop) for span in self.spans if span.kind != "audio")

    def whole_runs(self) -> list[tuple[int, int]]:
        """`(start, stop)` of each run that a chunk edge must not split: vision blocks and audio clips."""
        audio = [(span.start, span.stop) for span in self.spans if span.kind == "audio"]
        return sorted(self.vision_blocks() + audio)


def merge_touching(runs: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Joins runs where one begins at the other's end. `runs` are in order."""
    merged: list[tuple[int, int]] = []
    for start, stop in runs:
        first = merged.pop()[0] if merged and merged[-1][1] == start else start
        merged.append((first, stop))
    return merged
