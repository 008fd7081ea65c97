"""Decoding with drafts: several guessed tokens are checked in one pass, and only what the model says itself is kept.

At each position of a pass the sampler draws from the model's own distribution; the pass is good up to the first draw
that is not the guess, and that draw is kept as well. Whatever was guessed, every token is therefore drawn exactly as
without drafts: greedy decoding gives the same tokens, sampling the same distribution.
"""

from collections.abc import Collection, Iterator, Sequence

import mlx.core as mx
import numpy as np

from gemma4_mlx.engine.drafts import DraftSource
from gemma4_mlx.engine.guide import Guide, keep_only
from gemma4_mlx.engine.pacer import Pacer
from gemma4_mlx.engine.sampling import Sampler
from gemma4_mlx.errors import GemmaError
from gemma4_mlx.model.cache import Cache
from gemma4_mlx.model.unified import Gemma4Unified

CLEAR_EVERY = 256
"""Tokens between two releases of the buffer cache."""


def decode_with_drafts(
    model: Gemma4Unified,
    caches: Sequence[Cache],
    hidden: mx.array,
    sampler: Sampler,
    max_tokens: int,
    stop_ids: Collection[int],
    source: DraftSource,
    pacer: Pacer,
    guide: Guide | None = None,
) -> Iterator[int]:
    """Yields up to `max_tokens` ids, all of them allowed by the guide; a stop id is yielded and ends it.

    `hidden` `(1, 1, hidden)` is that of the last position read. Between two ids of one pass the caches are ahead of
    what was yielded by less than the pass; they hold none of the tokens that were guessed wrongly. Raises GemmaError
    if the first logits are no finite numbers.
    """
    logits = model.logits(hidden)[:, 0]
    sound = _are_sound(logits)
    token = sampler(keep_only(logits, None if guide is None else guide.allowed()))
    mx.async_eval(token, sound, sampler.state)
    count, cleared, running = 0, 0, False
    while count < max_tokens:
        length = min(pacer.length(), max_tokens - count - 1)
        guesses = source.propose(token, hidden, length) if length > 0 else None
        if guesses is None:
            hidden, following = _plain_step(model, caches, sampler, token, guide, more=count + 1 < max_tokens)
        values = np.array(token).tolist()
        if count == 0:
            _check_sound(sound)
        # A step's time is the wait for the token that it brings, one round later.
        if running:
            pacer.plain()
        elif count == 0:
            pacer.start()
        running = guesses is None
        if guesses is None:
            token = following
        else:
            values, token, hidden = _checked_pass(model, caches, sampler, token, guesses, stop_ids, guide)
            pacer.pass_done(guesses.size, len(values) - 1)
        for value in values:
            source.append(value)
            if guide is not None:
                guide.accept(value)
            count += 1
            yield value
            if value in stop_ids:
                return
        if count - cleared >= CLEAR_EVERY:
            mx.clear_cache()
            cleared = count


def _are_sound(logits: mx.array) -> mx.array:
    """Whether logits `(1, vocab)` are finite numbers and not all alike, lazy; known as soon as their token is."""
    return mx.isfinite(logits).all() & (logits.max() > logits.min())


def _check_sound(sound: mx.array) -> None:
    if not sound.item():
        raise GemmaError(
            "the model's logits are not finite numbers, or all alike: its weights, adapters or saved session are "
            "damaged, or too large for float16; download or convert them again"
        )


def _plain_step(
    model: Gemma4Unified,
    caches: Sequence[Cache],
    sampler: Sampler,
    token: mx.array,
    guide: Guide | None,
    *,
    more: bool,
) -> tuple[mx.array, mx.array]:
    """Starts the step after a token that may still be on its way."""
    if not more:
        return token, token
    hidden = model(model.language_model.model.embed(token[None]), caches)
    (logits,) = _allowed(model.logits(hidden), guide, token)
    following = sampler(logits)
    mx.async_eval(following, sampler.state)
    return hidden, following


def _checked_pass(
    model: Gemma4Unified,
    caches: Sequence[Cache],
    sampler: Sampler,
    token: mx.array,
    guesses: mx.array,
    stop_ids: Collection[int],
    guide: Guide | None,
) -> tuple[list[int], mx.array, mx.array]:
    """Checks guesses behind a token in one pass.

    Returns the tokens that are certain (the one given and the guesses that held), the next one, and the hidden state
    before it. The caches hold the certain tokens.
    """
    tokens = mx.concatenate([token, guesses])
    hidden = model(model.language_model.model.embed(tokens[None]), caches)
    states, drawn = [], []
    for logits in _allowed(model.logits(hidden), guide, tokens):
        drawn.append(sampler(logits))
        states.append(sampler.state)
    following = mx.concatenate(drawn)
    mx.eval(following, tokens, hidden, states)
    values = np.array(tokens).tolist()
    held = _held(np.array(following).tolist(), values, stop_ids)
    sampler.state = states[held]
    for cache in caches:
        cache.rollback(guesses.size - held)
    next_token, before = following[held : held + 1], hidden[:, held : held + 1]
    mx.async_eval(next_token, before)  # views too: what is lazy belongs to this thread, and another may go on
    return values[: held + 1], next_token, before


def _allowed(logits: mx.array, guide: Guide | None, tokens: mx.array) -> list[mx.array]:
    """Logits `(1, vocab)` behind each token of a pass, those of tokens that may not follow it at -inf.

    With a guide, only up to the first token that it does not allow. It looks while the pass is on its way.
    """
    rows = [logits[:, position] for position in range(tokens.size)]
    if guide is None:
        return rows
    mx.async_eval(logits)
    sets = guide.ahead(np.array(tokens).tolist())
    return [keep_only(row, bits) for row, bits in zip(rows, sets, strict=False)]


def _held(drawn: list[int], values: list[int], stop_ids: Collection[int]) -> int:
    """How many of the values after the first are what was drawn; none behind one that ends the reply."""
    held = 0
    while held + 1 < len(values) and values[held] not in stop_ids and drawn[held] == values[held + 1]:
        held += 1
    return held
