"""The ways in which one and the same prompt can reach the caches. All must end in the same logits."""

from collections.abc import Callable, Mapping, Sequence

import mlx.core as mx
import numpy as np

from gemma4_mlx.config import ModelConfig
from gemma4_mlx.engine.prefill import prefill
from gemma4_mlx.media.images import Patches
from gemma4_mlx.model.cache import Cache
from gemma4_mlx.model.unified import Gemma4Unified
from gemma4_mlx.prompt.prompt import Prompt, Span

WHOLE = 1 << 20
"""A chunk that is longer than any prompt here."""

LAST = 8
"""Tokens of text at the end of every prompt; no media among them or in the middle of the prompt."""

Path = Callable[[Gemma4Unified, Prompt, int | None], mx.array]
"""Reads a prompt into new caches; returns logits `(1, vocab)` of its last position."""


def text_prompt(config: ModelConfig, length: int) -> Prompt:
    """Random text."""
    return Prompt(_text(config, length))


def media_prompt(config: ModelConfig, tail: int) -> Prompt:
    """Text, a picture of 4 x 3 squares, text, nine frames of sound, and `tail` tokens of text."""
    assert config.vision is not None
    assert config.audio is not None
    tokens, random = config.tokens, np.random.default_rng(0)
    ids = _text(config, 10 + 12 + 5 + 9 + tail)
    ids[10:22], ids[27:36] = [tokens.image] * 12, [tokens.audio] * 9
    places = np.stack((np.arange(12) % 4, np.arange(12) // 4), axis=1).astype(np.int32)
    pixels = random.integers(0, 256, (12, config.vision.patch_size**2 * 3), dtype=np.uint8)
    frames = random.uniform(-1, 1, (9, config.audio.samples_per_token)).astype(np.float32)
    return Prompt(ids, [Span("image", 10, Patches(pixels, places)), Span("audio", 27, frames)])


def step(model: Gemma4Unified, caches: Sequence[Cache], token: mx.array) -> mx.array:
    """Lazy logits `(1, vocab)` after one more token `(1,)`, itself perhaps still lazy."""
    return model.logits(model(model.language_model.model.embed(token[None]), caches))[:, -1]


def one_pass(model: Gemma4Unified, prompt: Prompt, kv_bits: int | None) -> mx.array:
    """Everything at once."""
    return prefill(model, prompt, _caches(model, prompt, kv_bits), WHOLE)


def chunks(model: Gemma4Unified, prompt: Prompt, kv_bits: int | None) -> mx.array:
    """In short pieces, none of which is a whole number of windows."""
    return prefill(model, prompt, _caches(model, prompt, kv_bits), max(7, len(prompt.ids) // 9))


def token_by_token(model: Gemma4Unified, prompt: Prompt, kv_bits: int | None) -> mx.array:
    """The last tokens as a reply is written."""
    caches, logits = _caches(model, prompt, kv_bits), mx.zeros(())
    _read(model, prompt, caches, len(prompt.ids) - LAST)
    for token in prompt.ids[-LAST:]:
        logits = step(model, caches, mx.array([token]))
    return logits


def rolled_back(model: Gemma4Unified, prompt: Prompt, kv_bits: int | None) -> mx.array:
    """With guesses behind the text that turn out wrong and are forgotten."""
    caches = _caches(model, prompt, kv_bits)
    _read(model, prompt, caches, len(prompt.ids) - LAST)
    _read(model, Prompt([*prompt.ids[:-LAST], *prompt.ids[:LAST]], prompt.spans), caches, len(prompt.ids))
    for cache in caches:
        cache.rollback(LAST)
    return prefill(model, prompt, caches, WHOLE)


def later_turn(model: Gemma4Unified, prompt: Prompt, kv_bits: int | None) -> mx.array:
    """What comes before the first media read earlier, the media read into a warm cache."""
    caches = _caches(model, prompt, kv_bits)
    _read(model, prompt, caches, 10)
    return prefill(model, prompt, caches, WHOLE)


def grown(model: Gemma4Unified, prompt: Prompt, kv_bits: int | None) -> mx.array:
    """In caches that had to be made larger on the way."""
    caches = model.make_caches(len(prompt.ids) - LAST, kv_bits)
    _read(model, prompt, caches, len(prompt.ids) - LAST)
    for cache in caches:
        cache.grow(len(prompt.ids) + LAST)
    return prefill(model, prompt, caches, WHOLE)


PATHS: Mapping[str, Path] = {
    "in one pass": one_pass,
    "in chunks": chunks,
    "token by token": token_by_token,
    "rolled back": rolled_back,
    "in a later turn": later_turn,
    "caches grown": grown,
}


def _read(model: Gemma4Unified, prompt: Prompt, caches: list[Cache], stop: int) -> None:
    spans = [span for span in prompt.spans if span.stop <= stop]
    mx.eval(prefill(model, Prompt(prompt.ids[:stop], spans), caches, WHOLE))


def _caches(model: Gemma4Unified, prompt: Prompt, kv_bits: int | None) -> list[Cache]:
    return model.make_caches(len(prompt.ids) + LAST, kv_bits)


def _text(config: ModelConfig, length: int) -> list[int]:
    """Ids that stand for no media."""
    return np.random.default_rng(1).integers(16, config.text.vocab_size, length).tolist()
