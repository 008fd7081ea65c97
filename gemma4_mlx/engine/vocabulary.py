"""A tokenizer's vocabulary as grammars need it: the bytes of every token, and sets of tokens as bits."""

from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any

import mlx.core as mx
import numpy as np

from gemma4_mlx.prompt.tokenizer import Tokenizer

Bits = np.ndarray
"""A set of tokens, `(ceil(vocab_size / 8),)` uint8: bit i of byte n stands for token 8 n + i."""


class Vocabulary:
    """Takes seconds to build for 262,144 tokens: see `vocabulary`."""

    def __init__(self, tokenizer: Tokenizer, vocab_size: int, end_ids: Collection[int]) -> None:
        """`vocab_size` is the width of the logits; `end_ids` end a text that is complete."""
        from llguidance import LLTokenizer

        self.size, self.tokenizer = vocab_size, tokenizer
        self.end_ids = frozenset(end_ids)
        controls = frozenset(tokenizer.control_ids.values())
        tokens = token_bytes(tokenizer)
        described: Any = _Described(tokenizer, [*tokens, *[b""] * (vocab_size - len(tokens))], min(end_ids))
        self.compiled = LLTokenizer(
            described, n_vocab=vocab_size, eos_token=sorted(end_ids), slices=LLTokenizer.json_slices()
        )
        written = [id for id, token in enumerate(tokens) if token and id not in controls]
        self.text = self.bits(written)
        self.text_and_ends = self.text | self.bits(end_ids)

    def bits(self, ids: Collection[int]) -> Bits:
        """The set of these tokens."""
        chosen = np.zeros(-(-self.size // 8) * 8, np.bool_)
        chosen[list(ids)] = True
        return np.packbits(chosen, bitorder="little")


def token_bytes(tokenizer: Tokenizer) -> list[bytes]:
    """What each id stands for; b"" where there is none. Control tokens stand for their names."""
    ids = tokenizer._backend.get_vocab(with_added_tokens=True)
    tokens = [b""] * (max(ids.values()) + 1)
    for token, id in ids.items():
        tokens[id] = tokenizer._byte_ids.get(id) or token.replace("▁", " ").encode()
    return tokens


@lru_cache(maxsize=2)
def vocabulary(tokenizer: Tokenizer, vocab_size: int, end_ids: tuple[int, ...]) -> Vocabulary:
    """A vocabulary, built once."""
    return Vocabulary(tokenizer, vocab_size, end_ids)


@lru_cache(maxsize=1)
def _penalties() -> mx.array:
    """For each byte of bits, what to add to eight logits: 0 where the bit is set, -inf elsewhere."""
    bits = (np.arange(256)[:, None] >> np.arange(8)) & 1
    return mx.array(np.where(bits, 0, -np.inf).astype(np.float32))


def keep_only(logits: mx.array, bits: Bits) -> mx.array:
    """Logits `(1, vocab)` with -inf for every token that is not in the set.

    Only the bits travel to the device, where a table makes eight numbers of each byte: on a CPU that takes a third of
    the time of `mx.where`.
    """
    return logits + _penalties()[mx.array(bits)].reshape(1, -1)[:, : logits.shape[-1]]


class _Described:
    """What LLTokenizer asks of a tokenizer."""

    is_tokenizer_wrapper = True
    bos_token_id = None

    def __init__(self, tokenizer: Tokenizer, tokens: Sequence[bytes], eos_token_id: int) -> None:
        self._encode = tokenizer.encode
        self.tokens, self.eos_token_id = tokens, eos_token_id
        self.special_token_ids = list(tokenizer.control_ids.values())

    def __call__(self, text: bytes | str) -> list[int]:
        return self._encode(text.decode() if isinstance(text, bytes) else text)
