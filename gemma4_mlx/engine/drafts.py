"""Where guesses of the next tokens come from: text seen before, or a drafter model."""

from collections.abc import Sequence
from typing import Protocol

import mlx.core as mx
import numpy as np

from gemma4_mlx.model.cache import Cache
from gemma4_mlx.model.drafter import Drafter
from gemma4_mlx.model.unified import Gemma4Unified

MATCHED = 3
"""Tokens that must have occurred before, in the same order, for what followed them to be guessed again."""


class DraftSource(Protocol):
    """Guesses what follows a token that may still be on its way from the device."""

    def propose(self, token: mx.array, hidden: mx.array, count: int) -> mx.array | None:
        """Up to `count` token ids `(n,)` after `token` `(1,)`; None where there is no guess.

        `hidden` `(1, 1, hidden)` is the target's final hidden state of the position before the token.
        """

    def append(self, token: int) -> None:
        """Tells the next token that the reply has."""


class PromptLookup:
    """Guesses that what followed the last few tokens earlier, in prompt or reply, follows them again."""

    def __init__(self, ids: Sequence[int]) -> None:
        self._ids: list[int] = []
        self._after: dict[tuple[int, ...], int] = {}
        for token in ids:
            self.append(token)

    def append(self, token: int) -> None:
        """Adds a token; the ones before it are now known to be followed by it."""
        if len(self._ids) >= MATCHED:
            self._after[tuple(self._ids[-MATCHED:])] = len(self._ids)
        self._ids.append(token)

    def propose(self, token: mx.array, hidden: mx.array, count: int) -> mx.array | None:
        """What followed the same tokens before. Waits for the token only where the ones before it have occurred."""
        del hidden
        if self._after.get(tuple(self._ids[-MATCHED:])) is None:
            return None
        place = self._after.get((*self._ids[1 - MATCHED :], *np.array(token).tolist()))
        return None if place is None else mx.array(self._ids[place : place + count])


class DraftModel:
    """Guesses by a drafter, from the caches that the target has filled."""

    def __init__(self, drafter: Drafter, target: Gemma4Unified, caches: Sequence[Cache]) -> None:
        self._drafter, self._target, self._caches = drafter, target, caches

    def append(self, token: int) -> None:
        """Nothing is remembered: all is in the target's caches."""

    def propose(self, token: mx.array, hidden: mx.array, count: int) -> mx.array | None:
        """The drafter's likeliest tokens, lazy."""
        guesses, rotations = [], self._drafter.rotations(self._caches)
        for _ in range(count):
            embedding = self._target.language_model.model.embed(token[None])
            logits, hidden = self._drafter(embedding, hidden, self._caches, rotations)
            token = mx.argmax(logits[:, 0], axis=-1)
            guesses.append(token)
        return mx.concatenate(guesses)
