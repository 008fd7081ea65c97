"""Decoding with drafts: several guessed tokens are checked in one pass, and only what the model says itself is kept.

At each position of a pass the sampler draws from the model's own distribution; the pass is good up to the first draw
that is not the guess, and that draw is kept as well. Whatever was guessed, every token is therefore drawn exactly as
without drafts: greedy decoding gives the same tokens, sampling the same distribution.
"""

from collections.abc import Collection, Iterator, Sequence

import mlx.core as mx
import numpy as np

from gemma4_mlx.engine.decode import CLEAR_EVERY
from gemma4_mlx.engine.drafts import DraftSource
from gemma4_mlx.engine.pacer import Pacer
from gemma4_mlx.engine.sampling import Sampler
from gemma4_mlx.model.cache import Cache
from gemma4_mlx.model.unified import Gemma4Unified


def decode_with_drafts(
    model: Gemma4Unified,
    caches: Sequence[Cache],
    hidden: mx.array,
    sampler: Sampler,
    max_tokens: int,
    stop_ids: Collection[int],
    source: DraftSource,
    pacer: Pacer,
) -> Iterator[int]:
    """Yields up to `max_tokens` ids; a stop id is yielded and ends it.

    `hidden` `(1, 1, hidden)` is that of the last position read. Between two ids of one pass the caches are ahead of
    what was yielded by less than the pass; they hold none of the tokens that were guessed wrongly.
    """
    token = sampler(model.logits(hidden)[:, 0])
    mx.async_eval(token)
    count, cleared = 0, 0
    while count < max_tokens:
        length = min(pacer.length(), max_tokens - count - 1)
        guesses = source.propose(token, hidden, length) if length > 0 else None
        if guesses is None:
            hidden, following = _plain_step(model, caches, sampler, token, more=count + 1 < max_tokens)
            values = np.array(token).tolist()
            token = following
            pacer.plain()
        else:
            values, token, hidden = _checked_pass(model, caches, sampler, token, guesses, stop_ids)
            pacer.pass_done(guesses.size, len(values) - 1)
        for value in values:
            source.append(value)
            count += 1
            yield value
            if value in stop_ids:
                return
        if count - cleared >= CLEAR_EVERY:
            mx.clear_cache()
            cleared = count


def _plain_step(
    model: Gemma4Unified, caches: Sequence[Cache], sampler: Sampler, token: mx.array, *, more: bool
) -> tuple[mx.array, mx.array]:
    """Starts the step after a token that may still be on its way."""
    if not more:
        return token, token
    hidden = model(model.language_model.model.embed(token[None]), caches)
    following = sampler(model.logits(hidden)[:, 0])
    mx.async_eval(following)
    return hidden, following


def _checked_pass(
    model: Gemma4Unified,
    caches: Sequence[Cache],
    sampler: Sampler,
    token: mx.array,
    guesses: mx.array,
    stop_ids: Collection[int],
) -> tuple[list[int], mx.array, mx.array]:
    """Checks guesses behind a token in one pass.

    Returns the tokens that are certain (the one given and the guesses that held), the next one, and the hidden state
    before it. The caches hold the certain tokens.
    """
    hidden = model(model.language_model.model.embed(mx.concatenate([token, guesses])[None]), caches)
    logits = model.logits(hidden)
    states, drawn = [], []
    for position in range(guesses.size + 1):
        drawn.append(sampler(logits[:, position]))
        states.append(sampler.state)
    following = mx.concatenate(drawn)
    mx.eval(following, guesses, hidden)
    values = np.array(mx.concatenate([token, guesses])).tolist()
    held = _held(np.array(following).tolist(), values, stop_ids)
    sampler.state = states[held]
    for cache in caches:
        cache.rollback(guesses.size - held)
    return values[: held + 1], following[held : held + 1], hidden[:, held : held + 1]


def _held(drawn: list[int], values: list[int], stop_ids: Collection[int]) -> int:
    """How many of the values after the first are what was drawn; none behind one that ends the reply."""
    held = 0
    while held + 1 < len(values) and values[held] not in stop_ids and drawn[held] == values[held + 1]:
        held += 1
    return held
