"""A tokenizer's vocabulary as grammars need it."""

from collections.abc import Collection, Sequence
from functools import lru_cache
from threading import Lock
from typing import Any

from gemma4_mlx.engine.guide import token_set
from gemma4_mlx.prompt.tokenizer import Tokenizer


class Vocabulary:
    """Takes seconds to build for 262,144 tokens: see `vocabulary`."""

    def __init__(self, tokenizer: Tokenizer, vocab_size: int, end_ids: Collection[int]) -> None:
        """`vocab_size` is the width of the logits; `end_ids`, if there are any, end a text that is complete."""
        from llguidance import LLTokenizer

        self.size, self.tokenizer = vocab_size, tokenizer
        self.end_ids = frozenset(end_ids)
        controls = frozenset(tokenizer.control_ids.values())
        tokens = tokenizer.token_bytes()
        ends = sorted(end_ids) or [min(controls)]
        described: Any = _Described(tokenizer, [*tokens, *[b""] * (vocab_size - len(tokens))], ends[0])
        self.compiled = LLTokenizer(described, n_vocab=vocab_size, eos_token=ends, slices=LLTokenizer.json_slices())
        written = [id for id, token in enumerate(tokens) if token and id not in controls]
        self.text = token_set(vocab_size, written)
        self.text_and_ends = self.text | token_set(vocab_size, end_ids)


_BUILDING = Lock()


def vocabulary(tokenizer: Tokenizer, vocab_size: int, end_ids: tuple[int, ...]) -> Vocabulary:
    """A vocabulary, built once, also if several threads ask for it."""
    with _BUILDING:
        return _built(tokenizer, vocab_size, end_ids)


@lru_cache(maxsize=2)
def _built(tokenizer: Tokenizer, vocab_size: int, end_ids: tuple[int, ...]) -> Vocabulary:
    return Vocabulary(tokenizer, vocab_size, end_ids)


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
