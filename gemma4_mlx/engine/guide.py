"""Which tokens may come next in a reply: sets of tokens as bits, and what decoding asks of those who say so."""

from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from typing import Protocol

import mlx.core as mx
import numpy as np

Bits = np.ndarray
"""A set of tokens, `(ceil(vocab_size / 8),)` uint8: bit i of byte n stands for token 8 n + i."""


class Guide(Protocol):
    """Follows one reply and says what may come next; None where anything may."""

    def allowed(self) -> Bits | None:
        """The tokens that may come next."""

    def ahead(self, tokens: Sequence[int]) -> Sequence[Bits | None]:
        """What may follow each of these tokens, the first of which is known to be allowed; nothing is kept of it.

        Shorter than `tokens` where one of the others is not allowed: it ends before that one.
        """

    def accept(self, token: int) -> None:
        """Moves on by a token that was chosen."""


class Guides:
    """Several guides, all of which a token must suit."""

    def __init__(self, guides: Sequence[Guide]) -> None:
        self._guides = guides

    def allowed(self) -> Bits | None:
        """The tokens that all of them allow."""
        return _common([guide.allowed() for guide in self._guides])

    def ahead(self, tokens: Sequence[int]) -> list[Bits | None]:
        """The same behind each token, up to the first that one of them does not allow."""
        return [_common(each) for each in zip(*(guide.ahead(tokens) for guide in self._guides), strict=False)]

    def accept(self, token: int) -> None:
        """Moves all of them on."""
        for guide in self._guides:
            guide.accept(token)


def look_ahead(tokens: Sequence[int], move: Callable[[int], Bits | None]) -> list[Bits | None]:
    """What may follow each token, as `move` says after it, up to the first token that may not follow the one before."""
    found: list[Bits | None] = []
    for token in tokens:
        if found and not contains(found[-1], token):
            break
        found.append(move(token))
    return found


def token_set(vocab_size: int, ids: Collection[int]) -> Bits:
    """The set of these tokens."""
    chosen = np.zeros(-(-vocab_size // 8) * 8, np.bool_)
    chosen[list(ids)] = True
    return np.packbits(chosen, bitorder="little")


def contains(bits: Bits | None, token: int) -> bool:
    """Whether a set holds a token; None holds all."""
    return bits is None or bool(bits[token // 8] >> token % 8 & 1)


def keep_only(logits: mx.array, bits: Bits | None) -> mx.array:
    """Logits `(1, vocab)` with -inf for every token that is not in the set.

    Only the bits travel to the device, where a table makes eight numbers of each byte: on a CPU that takes a third of
    the time of `mx.where`.
    """
    if bits is None:
        return logits
    return logits + _penalties()[mx.array(bits)].reshape(1, -1)[:, : logits.shape[-1]]


@lru_cache(maxsize=1)
def _penalties() -> mx.array:
    """For each byte of bits, what to add to eight logits: 0 where the bit is set, -inf elsewhere."""
    bits = (np.arange(256)[:, None] >> np.arange(8)) & 1
    return mx.array(np.where(bits, 0, -np.inf).astype(np.float32))


def _common(sets: Sequence[Bits | None]) -> Bits | None:
    limiting = [bits for bits in sets if bits is not None]
    return None if not limiting else np.bitwise_and.reduce(limiting)
