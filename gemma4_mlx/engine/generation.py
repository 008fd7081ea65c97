"""A prompt in, a stream of reply pieces out: prefill, decode and the reply's parser put together."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import mlx.core as mx

from gemma4_mlx.engine.decode import decode
from gemma4_mlx.engine.options import GenerationOptions
from gemma4_mlx.engine.prefill import prefill
from gemma4_mlx.engine.sampling import Sampler
from gemma4_mlx.errors import GemmaError
from gemma4_mlx.model.unified import Gemma4Unified
from gemma4_mlx.prompt.prompt import Prompt
from gemma4_mlx.prompt.reply import Channel, Piece, ReplyParser
from gemma4_mlx.prompt.tokenizer import Tokenizer

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """One piece of a streamed reply, and the figures so far.

    Attributes:
        text: new text of `channel`; may be empty while a character is not whole.
        channel: "answer" or "thought".
        token: the id that brought it.
        prompt_tokens, generation_tokens: counts.
        prompt_tps, generation_tps: tokens a second; reading the prompt ends with the first token.
        peak_memory: bytes, the highest of the process so far.
        finish_reason: None until the last piece; then "stop" or "length".
    """

    text: str
    channel: Channel
    token: int
    prompt_tokens: int
    prompt_tps: float
    generation_tokens: int
    generation_tps: float
    peak_memory: int
    finish_reason: FinishReason | None = None


def stream(
    model: Gemma4Unified,
    tokenizer: Tokenizer,
    prompt: Prompt,
    options: GenerationOptions,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Response]:
    """Yields the reply piece by piece; the last one has a finish_reason.

    Raises GemmaError where the prompt leaves no room in the model's context.
    """
    total = check_length(model, prompt, options)
    clock = _Clock(len(prompt.ids))
    reply = ReplyParser(tokenizer, prompt.ids, options.eos_ids, options.stop)
    caches = model.make_caches(total)
    logits = prefill(model, prompt, caches, options.prefill_step_size, progress)
    sampler = Sampler(options, model.config.text.vocab_size, prompt.ids)
    token = -1
    for token in decode(model, caches, logits, sampler, total - len(prompt.ids), options.eos_ids):
        clock.tick()
        yield clock.response(token, reply.feed(token))
        if reply.stopped:
            break
    reason: FinishReason = "stop" if reply.stopped or token in options.eos_ids else "length"
    yield clock.response(token, reply.finish(), reason)


def check_length(model: Gemma4Unified, prompt: Prompt, options: GenerationOptions) -> int:
    """Positions that prompt and reply may take; the reply is limited by what the context leaves."""
    context = model.config.text.max_position_embeddings
    longest = min(context, options.max_kv_size or context)
    if len(prompt.ids) >= longest:
        cure = "shorten it" if longest == context else f"shorten it, or raise max_kv_size (the model has {context})"
        raise GemmaError(f"the prompt has {len(prompt.ids)} tokens; at most {longest - 1} can be read: {cure}")
    return min(len(prompt.ids) + options.max_tokens, longest)


class _Clock:
    """Counts tokens and times them."""

    def __init__(self, prompt_tokens: int) -> None:
        self.prompt_tokens, self.generated = prompt_tokens, 0
        self._start = self._first = self._last = time.perf_counter()

    def tick(self) -> None:
        self._last = time.perf_counter()
        self._first = self._last if self.generated == 0 else self._first
        self.generated += 1

    def response(self, token: int, piece: Piece, reason: FinishReason | None = None) -> Response:
        return Response(
            text=piece.text,
            channel=piece.channel,
            token=token,
            prompt_tokens=self.prompt_tokens,
            prompt_tps=self.prompt_tokens / max(self._first - self._start, 1e-9),
            generation_tokens=self.generated,
            generation_tps=(self.generated - 1) / max(self._last - self._first, 1e-9),
            peak_memory=mx.get_peak_memory(),
            finish_reason=reason,
        )
