"""The plain loop that decoding with drafts is held to: one step a token, nothing guessed."""

from collections.abc import Callable, Collection, Iterator, Sequence

import mlx.core as mx

from gemma4_mlx.measure.paths import step
from gemma4_mlx.model.cache import Cache
from gemma4_mlx.model.unified import Gemma4Unified


def decode(
    model: Gemma4Unified,
    caches: Sequence[Cache],
    logits: mx.array,
    sampler: Callable[[mx.array], mx.array],
    max_tokens: int,
    stop_ids: Collection[int] = (),
) -> Iterator[int]:
    """Yields up to `max_tokens` ids, the first from `logits` `(1, vocab)`; a stop id is yielded and ends it.

    As in the engine, the step after a token is in the caches before the token is yielded.
    """
    token = sampler(logits)
    for count in range(1, max_tokens + 1):
        following = sampler(step(model, caches, token)) if count < max_tokens else None
        value = token.item()
        assert isinstance(value, int)
        yield value
        if value in stop_ids or following is None:
            return
        token = following
