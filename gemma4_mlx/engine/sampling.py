"""Logits -> token. Filters work on float32 logits `(1, vocab)`; nothing here waits for the device."""

import secrets
from collections.abc import Sequence

import mlx.core as mx

from gemma4_mlx.engine.options import GenerationOptions
from gemma4_mlx.errors import check_argument, is_whole

BLOCK = 64
"""Logits whose maximum is looked at first where a few of a large vocabulary are wanted."""


class Sampler:
    """One reply's sampler: the random key and the tokens seen so far travel with it, on the device."""

    def __init__(self, options: GenerationOptions, vocab_size: int, prompt_ids: Sequence[int] = ()) -> None:
        check_ids(options, vocab_size)
        self.options = options
        self._key = mx.random.key(secrets.randbits(63) if options.seed is None else options.seed)
        self._bias = _suppression(options.suppress_tokens, vocab_size)
        self._seen = None
        if options.repetition_penalty != 1:
            for id in (min(prompt_ids, default=0), max(prompt_ids, default=0)):
                check_argument("prompt_ids", id, is_whole(id, 0, vocab_size - 1), f"ids from 0 to {vocab_size - 1}")
            self._seen = mx.zeros((1, vocab_size), dtype=mx.bool_)
            self._seen[:, mx.array(list(prompt_ids), dtype=mx.uint32)] = True

    @property
    def state(self) -> tuple[mx.array, mx.array | None]:
        """What the next draw depends on beside its logits: set again, it undoes the draws since.

        No token depends on it, so it stays lazy unless it is evaluated beside one: before another thread may go on.
        """
        return self._key, self._seen

    @state.setter
    def state(self, state: tuple[mx.array, mx.array | None]) -> None:
        self._key, self._seen = state

    def __call__(self, logits: mx.array) -> mx.array:
        """The next token `(1,)` for logits `(1, vocab)`."""
        if self._bias is not None:
            logits = logits + self._bias
        if self._seen is not None:
            penalty = self.options.repetition_penalty
            penalised = mx.where(logits > 0, logits / penalty, logits * penalty)
            logits = mx.where(self._seen, penalised, logits)
        token = self._choose(logits)
        if self._seen is not None:
            self._seen = self._seen | (mx.arange(self._seen.shape[-1]) == token[:, None])
        return token

    def _choose(self, logits: mx.array) -> mx.array:
        if self.options.temperature == 0:
            return mx.argmax(logits, axis=-1)
        self._key, key = mx.random.split(self._key)
        return sample(logits, self.options, key)


def check_ids(options: GenerationOptions, vocab_size: int) -> None:
    """Raise UsageError for ids that the vocabulary does not have: MLX would read and write outside of its arrays."""
    for name in ("suppress_tokens", "eos_ids"):
        for id in getattr(options, name):
            check_argument(name, id, is_whole(id, 0, vocab_size - 1), f"ids from 0 to {vocab_size - 1}")


def sample(logits: mx.array, options: GenerationOptions, key: mx.array) -> mx.array:
    """Temperature, then top-k, top-p and min-p, each on what the one before it left (transformers' order).

    Top-k goes first so that the sort of top-p sees k candidates rather than the whole vocabulary.
    """
    candidates = None
    if 0 < options.top_k < logits.shape[-1]:
        candidates = largest(logits, options.top_k)
        logits = mx.take_along_axis(logits, candidates, axis=-1)
    logits = logits / options.temperature
    if options.top_p < 1 or options.min_p > 0:
        logits = _keep_likely(logits, options.top_p, options.min_p)
    chosen = mx.random.categorical(logits, key=key)
    if candidates is None:
        return chosen
    return mx.take_along_axis(candidates, chosen[:, None], axis=-1)[:, 0]


def largest(logits: mx.array, count: int) -> mx.array:
    """Ids `(1, count)` of the largest logits, in no order.

    They are in the blocks with the largest maxima. A partition of all logits would be a full sort on Metal.
    """
    width = logits.shape[-1]
    if width % BLOCK or width // BLOCK <= count:
        return _partitioned(logits, count)
    blocks = _partitioned(logits.reshape(1, -1, BLOCK).max(axis=-1), count)
    ids = (blocks[..., None] * BLOCK + mx.arange(BLOCK, dtype=mx.uint32)).reshape(1, -1)
    best = _partitioned(mx.take_along_axis(logits, ids, axis=-1), count)
    return mx.take_along_axis(ids, best, axis=-1)


def _partitioned(values: mx.array, count: int) -> mx.array:
    return mx.argpartition(values, kth=-count, axis=-1)[:, -count:]


def _keep_likely(logits: mx.array, top_p: float, min_p: float) -> mx.array:
    """Sets what top-p or min-p drops to -inf. The likeliest token always stays."""
    order = mx.argsort(-logits, axis=-1)
    probabilities = mx.softmax(mx.take_along_axis(logits, order, axis=-1), axis=-1)
    before = mx.cumsum(probabilities, axis=-1) - probabilities
    kept = (before < top_p) & (probabilities >= min_p * probabilities[:, :1])
    ranks = mx.argsort(order, axis=-1)
    return mx.where(mx.take_along_axis(kept, ranks, axis=-1), logits, -mx.inf)


def _suppression(tokens: Sequence[int], vocab_size: int) -> mx.array | None:
    """What to add to logits so that the tokens are never chosen, or None where there are none."""
    if not tokens:
        return None
    bias = mx.zeros((1, vocab_size))
    bias[:, mx.array(list(tokens), dtype=mx.uint32)] = -mx.inf
    return bias
