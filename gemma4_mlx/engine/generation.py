"""A prompt in, a stream of reply pieces out: prefill, decode and the reply's parser put together."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal

import mlx.core as mx

from gemma4_mlx.device_errors import device_errors_named
from gemma4_mlx.engine.drafts import DraftModel, DraftSource, PromptLookup
from gemma4_mlx.engine.guidance import AnswerGrammar, Guidance
from gemma4_mlx.engine.memory import budget, keep_to, kept_to, wired
from gemma4_mlx.engine.options import AUTO, NONE, GenerationOptions
from gemma4_mlx.engine.pacer import Pacer
from gemma4_mlx.engine.plan import Need, Plan, check, kv_name, need
from gemma4_mlx.engine.prefill import read_hidden
from gemma4_mlx.engine.sampling import Sampler, check_ids
from gemma4_mlx.engine.session import Session
from gemma4_mlx.engine.speculative import decode_with_drafts
from gemma4_mlx.errors import GemmaError, UsageError
from gemma4_mlx.model.drafter import Drafter
from gemma4_mlx.model.unified import Gemma4Unified
from gemma4_mlx.prompt.calls import MalformedCall, ToolCall
from gemma4_mlx.prompt.prompt import Prompt, check_prompt
from gemma4_mlx.prompt.reply import Channel, Piece, ReplyParser
from gemma4_mlx.prompt.tokenizer import Tokenizer
from gemma4_mlx.prompt.tools import Tool

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """One piece of a streamed reply, and the figures so far.

    Attributes:
        text: new text of `channel`; may be empty while a character is not whole.
        channel: "answer", "thought" or "tool".
        call: a tool call that is whole now; its text came in the channel "tool".
        malformed: what the model wrote as a call and can't be read as one; not to be run.
        token: the id that brought it.
        prompt_tokens, generation_tokens: counts.
        reused_tokens: how many of the prompt's tokens a session held already.
        prompt_tps, generation_tps: tokens a second, of those that were read; reading ends with the first token.
        peak_memory: bytes, the highest of the process so far.
        kv_bits: bits of the caches; None for the model's own type.
        drafted_tokens, accepted_tokens: tokens that were guessed ahead, and guesses that held.
        tokens_per_pass: tokens that a pass with guesses brought, in the mean; 1 where there was none.
        finish_reason: None until the last piece; then "stop" or "length".
    """

    text: str
    channel: Channel
    token: int
    prompt_tokens: int
    reused_tokens: int = 0
    prompt_tps: float
    generation_tokens: int
    generation_tps: float
    peak_memory: int
    kv_bits: int | None = None
    call: ToolCall | None = None
    malformed: MalformedCall | None = None
    drafted_tokens: int = 0
    accepted_tokens: int = 0
    tokens_per_pass: float = 1.0
    finish_reason: FinishReason | None = None


def stream(
    model: Gemma4Unified,
    tokenizer: Tokenizer,
    prompt: Prompt,
    options: GenerationOptions,
    progress: Callable[[int, int], None] | None = None,
    session: Session | None = None,
    drafter: Drafter | None = None,
    answer: AnswerGrammar | None = None,
    tools: Sequence[Tool] = (),
) -> Iterator[Response]:
    """Yields the reply piece by piece; the last one has a finish_reason.

    With a session, what it holds of the prompt is not read again, and it holds prompt and reply afterwards. `tools` are
    those that the prompt declares. Raises GemmaError if the prompt leaves no room in the model's context, if another
    reply of the session has not ended, or, after the last piece, if an answer that has a grammar did not come to its
    end, or for a failure of the device; UsageError for a session of another model or with other caches than the options
    ask for; DoesNotFitError if it does not fit into memory: then weights that are still on disk stay there.
    """
    total = check_length(model, prompt, options)
    with device_errors_named(), nullcontext() if session is None else session.in_use():
        plan = _checked_plan(model, prompt, options, total, session, drafter)
        with kept_to(plan, unread=plan.weights):
            model.prepare()
            if drafter is not None:
                drafter.prepare(model)
            keep_to(plan, 0 if session is None else session.nbytes)
            with wired(plan, options.wire):
                yield from _reply(
                    model, tokenizer, prompt, options, plan, total, progress, session, drafter, answer, tools
                )


def _reply(
    model: Gemma4Unified,
    tokenizer: Tokenizer,
    prompt: Prompt,
    options: GenerationOptions,
    plan: Plan,
    total: int,
    progress: Callable[[int, int], None] | None,
    session: Session | None,
    drafter: Drafter | None,
    answer: AnswerGrammar | None,
    tools: Sequence[Tool],
) -> Iterator[Response]:
    """The pieces of a reply that fits, once everything is in memory; `total` positions for prompt and reply."""
    clock = _Clock(len(prompt.ids), plan.kv_bits)
    reply = ReplyParser(tokenizer, prompt.ids, options.eos_ids, options.stop, tools)
    with Guidance(tokenizer, model.config.text.vocab_size, options, answer, tools) as guidance:
        if session is None:
            caches = model.make_caches(total, plan.kv_bits, options.kv_group_size)
            hidden = read_hidden(model, prompt, caches, options.prefill_step_size, progress)
        else:
            hidden = session.read_hidden(prompt, total, options.prefill_step_size, progress)
            caches, clock.reused = session.caches, session.reused
        guide = guidance.guide(prompt.ids)
    sampler = Sampler(options, model.config.text.vocab_size, prompt.ids)
    source: DraftSource = PromptLookup(prompt.ids) if drafter is None else DraftModel(drafter, model, caches)
    pacer = clock.pacer = Pacer(None if options.num_draft_tokens == AUTO else int(options.num_draft_tokens))
    limit = total - len(prompt.ids)
    tokens = decode_with_drafts(model, caches, hidden, sampler, limit, options.eos_ids, source, pacer, guide)
    token = -1
    for token in tokens if session is None else session.follow(tokens):
        clock.tick()
        for piece in reply.feed(token).split():
            yield clock.response(token, piece)
        if reply.stopped:
            break
    reason: FinishReason = "stop" if reply.stopped or token in options.eos_ids else "length"
    *pieces, last = reply.finish().split()
    for piece in pieces:
        yield clock.response(token, piece)
    yield clock.response(token, last, reason)
    guidance.check_end()


def _checked_plan(
    model: Gemma4Unified,
    prompt: Prompt,
    options: GenerationOptions,
    total: int,
    session: Session | None,
    drafter: Drafter | None,
) -> Plan:
    wanted = memory_need(model, prompt, options, session, drafter)
    if session is None:
        return check(wanted, wanted.choose(total, options.kv_bits))
    _check_session(session, model, options)
    if not wanted.plan(session.room(total), session.kv_bits).fits:
        session.longest = 0  # no memory to grow ahead of need
    return check(wanted, wanted.plan(session.room(total), session.kv_bits))


def _check_session(session: Session, model: Gemma4Unified, options: GenerationOptions) -> None:
    """Raises UsageError where the session is not what was asked for."""
    if session.model is not model:
        raise UsageError("the session belongs to another model: make a Session of this one")
    if options.kv_bits not in (AUTO, session.kv_bits or NONE):
        raise UsageError(
            f"kv_bits is {options.kv_bits}, and the session's caches are {kv_name(session.kv_bits)}: "
            "give kv_bits to Session instead",
            arguments=["kv_bits", "kv_bits"],
        )


def memory_need(
    model: Gemma4Unified,
    prompt: Prompt,
    options: GenerationOptions,
    session: Session | None = None,
    drafter: Drafter | None = None,
) -> Need:
    """What a prompt asks for, for plans of any length."""
    allowed = budget(options.memory_limit)
    return need(
        model,
        prompt,
        chunk=options.prefill_step_size,
        kv_group_size=options.kv_group_size if session is None else session.kv_group_size,
        limit=allowed.limit,
        reserve=allowed.reserve,
        snapshots=0 if session is None else session.keep,
        drafter=drafter,
    )


def check_length(model: Gemma4Unified, prompt: Prompt, options: GenerationOptions) -> int:
    """Positions that prompt and reply may take; the reply is limited by what the context leaves.

    Raises GemmaError for a prompt that is too long or not the model's, UsageError for ids that it does not have.
    """
    check_ids(options, model.config.text.vocab_size)
    context, longest = model.config.text.max_position_embeddings, longest_context(model, options)
    if len(prompt.ids) >= longest:
        cure = "shorten it" if longest == context else f"shorten it, or raise max_kv_size (the model has {context})"
        raise GemmaError(
            f"the prompt has {len(prompt.ids)} tokens; at most {longest - 1} can be read: {cure}",
            arguments=["max_kv_size"],
        )
    check_prompt(prompt, model.config)
    return min(len(prompt.ids) + options.max_tokens, longest)


def longest_context(model: Gemma4Unified, options: GenerationOptions) -> int:
    """Positions that prompt and reply may take at most."""
    context = model.config.text.max_position_embeddings
    return min(context, options.max_kv_size or context)


class _Clock:
    """Counts tokens and times them."""

    def __init__(self, prompt_tokens: int, kv_bits: int | None) -> None:
        self.kv_bits = kv_bits
        self.prompt_tokens, self.reused, self.generated = prompt_tokens, 0, 0
        self.pacer = Pacer()
        self._start = self._first = self._last = time.perf_counter()

    def tick(self) -> None:
        self._last = time.perf_counter()
        self._first = self._last if self.generated == 0 else self._first
        self.generated += 1

    def response(self, token: int, piece: Piece, reason: FinishReason | None = None) -> Response:
        return Response(
            text=piece.text,
            channel=piece.channel,
            call=piece.call,
            malformed=piece.malformed,
            token=token,
            prompt_tokens=self.prompt_tokens,
            reused_tokens=self.reused,
            prompt_tps=(self.prompt_tokens - self.reused) / max(self._first - self._start, 1e-9),
            generation_tokens=self.generated,
            generation_tps=(self.generated - 1) / max(self._last - self._first, 1e-9),
            peak_memory=mx.get_peak_memory(),
            kv_bits=self.kv_bits,
            drafted_tokens=self.pacer.drafted,
            accepted_tokens=self.pacer.accepted,
            tokens_per_pass=self.pacer.tokens / self.pacer.passes if self.pacer.passes else 1.0,
            finish_reason=reason,
        )
