"""Writing the reply, one token at a time. Knows nothing of text."""

from collections.abc import Callable, Collection, Iterator, Sequence

import mlx.core as mx

from gemma4_mlx.model.cache import Cache
from gemma4_mlx.model.unified import Gemma4Unified

CLEAR_EVERY = 256
"""Steps between two releases of the buffer cache."""


def decode(
    model: Gemma4Unified,
    caches: Sequence[Cache],
    logits: mx.array,
    sampler: Callable[[mx.array], mx.array],
    max_tokens: int,
    stop_ids: Collection[int] = (),
) -> Iterator[int]:
    """Yields up to `max_tokens` ids, the first from `logits` `(1, vocab)`; a stop id is yielded and ends it.

    The step after a token is built and started before the token is read, so the device never waits for Python.
    """
    token = sampler(logits)
    mx.async_eval(token)
    for count in range(1, max_tokens + 1):
        following = None
        if count < max_tokens:
            following = sampler(step(model, caches, token))
            mx.async_eval(following)
        value = token.item()
        assert isinstance(value, int)
        yield value
        if value in stop_ids or following is None:
            return
        token = following
        if count % CLEAR_EVERY == 0:
            mx.clear_cache()


def step(model: Gemma4Unified, caches: Sequence[Cache], token: mx.array) -> mx.array:
    """Lazy logits `(1, vocab)` after one more token `(1,)`, itself perhaps still lazy."""
    hidden = model(model.language_model.model.embed(token[None]), caches)
    return model.logits(hidden)[:, -1]
