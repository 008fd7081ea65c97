"""The library's front door: load a checkpoint, ask it something."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from threading import Thread
from types import UnionType
from typing import Any, Literal

from gemma4_mlx.checkpoint.hub import resolve, resolve_drafter
from gemma4_mlx.checkpoint.load import open_drafter, open_model
from gemma4_mlx.device_errors import device_errors_named
from gemma4_mlx.engine.generation import Response, stream
from gemma4_mlx.engine.guidance import AnswerGrammar
from gemma4_mlx.engine.memory import Budget, budget, kept_to
from gemma4_mlx.engine.options import AUTO, GenerationOptions
from gemma4_mlx.engine.plan import Need, Plan, check_weights, need
from gemma4_mlx.engine.session import Session
from gemma4_mlx.errors import GemmaError, UsageError, check_argument, is_whole, note
from gemma4_mlx.model.drafter import Drafter
from gemma4_mlx.model.unified import Gemma4Unified
from gemma4_mlx.prompt.parts import as_sources
from gemma4_mlx.prompt.processor import MediaOptions, Processor
from gemma4_mlx.prompt.prompt import Prompt
from gemma4_mlx.prompt.reply import Channel
from gemma4_mlx.prompt.tools import AnyTool, read_tools
from gemma4_mlx.prompt.turns import question

Messages = str | Sequence[Mapping[str, Any]]
"""A user's question, or messages `{"role", "content": str | [{"type": "text" | "image" | "audio" | "video", ...}]}`."""

_USED_IN: dict[str, int] = {}
"""The process that first loaded or asked a model."""

EARLY_SHARE = 0.9
"""Share of the memory that the whole context may take for weights to load before the prompt is known."""


def load(
    path_or_repo: str | Path,
    *,
    revision: str | None = None,
    offline: bool = False,
    adapter_path: str | Path | None = None,
    lazy: bool | Literal["auto"] = False,
    memory_limit: str | None = None,
) -> tuple[Gemma4Unified, Processor]:
    """Model and processor of a folder or Hub repository. Weights and tokenizer load side by side.

    With `lazy` the weights stay on disk until the first prompt, whose memory is then checked before; "auto" waits only
    if a prompt could be too much for `memory_limit` (see GenerationOptions). Raises GemmaError for what is missing,
    damaged or of another model; unless `lazy` is True, DoesNotFitError before any weights are read if not even a short
    prompt fits.
    """
    _check_process()
    _check_kinds(str | Path, path_or_repo=path_or_repo)
    _check_kinds(str | Path | None, adapter_path=adapter_path)
    _check_kinds(str | None, revision=revision)
    check_argument("lazy", lazy, isinstance(lazy, bool) or lazy == "auto", 'True, False or "auto"')
    allowed = budget(memory_limit)
    folder = resolve(str(path_or_repo), revision=revision, offline=offline)
    processor = _beside(Processor.from_folder, folder)
    model = open_model(folder, None if adapter_path is None else Path(adapter_path).expanduser())
    if lazy is not True:
        _read_weights(model, allowed, wait=lazy == "auto")
    # The model knows which inputs have weights; what has none is then refused before it is decoded.
    return model, replace(processor.result(), config=model.config)


def _read_weights(model: Gemma4Unified, allowed: Budget, *, wait: bool) -> None:
    """Read weights for which there is memory; with `wait` only if that is sure to be so whatever is asked.

    Raises DoesNotFitError if there is too little for the shortest prompts.
    """
    early = Budget(int(allowed.limit * EARLY_SHARE), allowed.reserve)
    whole = _need(model, GenerationOptions(), early).choose(model.config.text.max_position_embeddings, AUTO)
    if not whole.fits:
        check_weights(_need(model, GenerationOptions(), allowed))
    if whole.fits or not wait:
        with device_errors_named(), kept_to(whole, unread=whole.weights):
            model.prepare()


def _beside(function: Callable[[Path], Processor], folder: Path) -> Future[Processor]:
    """What a function gives, at work in a thread that nobody waits for if the program ends: a pool would."""
    future: Future[Processor] = Future()

    def work() -> None:
        try:
            future.set_result(function(folder))
        except BaseException as error:  # whoever asks for the result gets it
            future.set_exception(error)

    Thread(target=work, daemon=True).start()
    return future


def _check_kinds(kinds: type | UnionType, **given: object) -> None:
    """Raise UsageError that names an argument of another kind."""
    for name, value in given.items():
        if not isinstance(value, kinds):
            raise UsageError(f"{name} can't be {type(value).__name__}; it must be {getattr(kinds, '__name__', kinds)}")


def _check_process() -> None:
    """Raises GemmaError in a fork of a process that used MLX: its threads are not there, and it would wait for them."""
    if _USED_IN.setdefault("pid", os.getpid()) != os.getpid():
        raise GemmaError(
            "a fork of a process that has used MLX can't use it: start processes with "
            'multiprocessing.get_context("spawn"), or fork before the model is loaded'
        )


def plan(
    path_or_repo: str | Path,
    *,
    context: int | None = None,
    memory_limit: str | None = None,
    revision: str | None = None,
    offline: bool = False,
    **options: Any,
) -> Plan:
    """What a checkpoint needs in memory at `context` positions of prompt and reply (None: all that it has).

    Weights stay on disk. `memory_limit` ("16GB") plans for a Mac with so much memory instead of this device; of
    `options` the fields kv_bits, kv_group_size and prefill_step_size of GenerationOptions count. Whether it fits is for
    the caller to see: `fits`. Raises UsageError for what is out of range, GemmaError for an unusable checkpoint.
    """
    written = GenerationOptions(**options)
    allowed = budget(memory_limit)
    model = open_model(resolve(str(path_or_repo), revision=revision, offline=offline))
    longest = model.config.text.max_position_embeddings
    possible = f"from 1 to {longest}, which is what this model has"
    check_argument("context", context, context is None or is_whole(context, 1, longest), possible)
    return _need(model, written, allowed).choose(longest if context is None else context, written.kv_bits)


def _need(model: Gemma4Unified, options: GenerationOptions, allowed: Budget) -> Need:
    """What prompts without media need."""
    return need(
        model,
        None,
        chunk=options.prefill_step_size,
        kv_group_size=options.kv_group_size,
        limit=allowed.limit,
        reserve=allowed.reserve,
    )


def load_drafter(path_or_repo: str | Path, *, revision: str | None = None, offline: bool = False) -> Drafter:
    """The drafter of a folder or Hub repository, its weights on disk until it is used; "nano" is the built-in model's.

    Raises GemmaError.
    """
    return open_drafter(resolve_drafter(str(path_or_repo), revision=revision, offline=offline))


def stream_generate(
    model: Gemma4Unified,
    processor: Processor,
    prompt: Messages | Prompt,
    *,
    images: Any = (),
    audio: Any = (),
    videos: Any = (),
    tools: Sequence[AnyTool] | None = None,
    enable_thinking: bool = False,
    prefill_response: str = "",
    json_schema: Any = None,
    media: MediaOptions | None = None,
    template_variables: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
    session: Session | None = None,
    drafter: Drafter | None = None,
    **options: Any,
) -> Iterator[Response]:
    """Yields the reply to a question or conversation piece by piece.

    `images`, `audio` and `videos` (paths, URLs, data URIs, bytes, arrays, sound as `(samples, rate)`, frames as
    `(frames, fps)`, or what is decoded already: one, or a list) go with a question given as text: pictures and films
    before it, sounds after it, films' own too. `tools` are declared to the model, not run: see `run_agent`. With
    `json_schema` the answer is JSON that validates against it (see `schema.read_schema`). `options` are fields of
    GenerationOptions; what is not given comes from the checkpoint. A `session` given again with a longer conversation
    reads only what is new; a `drafter` guesses tokens ahead. A `Prompt` of the processor is read as it is. What is
    meant as a call and is none comes as `malformed`, in place of `call`. Raises GemmaError for input that can't be
    read, and behind the last piece where the reply ends before its JSON does; UsageError for options out of range.
    """
    _check_process()
    _check_kinds(Gemma4Unified, model=model)
    _check_kinds(Processor, processor=processor)
    _check_kinds(str, prefill_response=prefill_response)
    _check_kinds(bool, enable_thinking=enable_thinking)
    images, audio = as_sources("images", images), as_sources("audio", audio)
    videos = as_sources("videos", videos)
    _check_kinds(Mapping | None, template_variables=template_variables)
    _check_kinds(MediaOptions | None, media=media)
    _check_kinds(Session | None, session=session)
    _check_kinds(Drafter | None, drafter=drafter)
    if not isinstance(prompt, str) and (images or audio or videos):
        raise UsageError("images, audio and videos go with a question given as text; put them into the messages")
    if isinstance(prompt, str) and not (prompt.strip() or images or audio or videos):
        raise UsageError("the question is empty, and there is no image, audio or video: ask something")
    written = GenerationOptions.from_config(processor.generation_config, **options)
    declared = list(read_tools(tools or ()).values())
    answer = None
    if json_schema is not None:
        answer = answer_grammar(json_schema, written.stop, prefill_response, may_call=bool(declared))
    if isinstance(prompt, Prompt):
        read = prompt
    else:
        if isinstance(prompt, str):
            prompt = [question(prompt, media or processor.media, images=images, audio=audio, videos=videos)]
        read = processor.prompt(
            prompt,
            tools=[tool.declaration() for tool in declared],
            enable_thinking=enable_thinking,
            prefill_response=prefill_response,
            media=media,
            template_variables=template_variables,
        )
    return stream(model, processor.tokenizer, read, written, progress, session, drafter, answer, tools=declared)


def generate(model: Gemma4Unified, processor: Processor, prompt: Messages, **arguments: Any) -> str:
    """The whole answer, without any thought. Takes the arguments of `stream_generate`.

    Raises GemmaError if the model calls a tool in place of an answer, too, and if its thought leaves no room for one.
    """
    texts: dict[Channel, str] = {"answer": "", "thought": "", "tool": ""}
    piece = None
    for piece in stream_generate(model, processor, prompt, **arguments):
        if piece.malformed is not None:
            raise GemmaError(piece.malformed.message)
        if piece.call is not None:
            raise GemmaError(
                f"the model calls the tool {piece.call.name}, and generate gives text only; "
                "run_agent runs tools, stream_generate gives the calls"
            )
        texts[piece.channel] += piece.text
    if piece is not None and not texts["answer"] and (texts["thought"] or piece.channel == "thought"):
        if piece.finish_reason == "length":
            raise GemmaError(
                f"the thought took all {piece.generation_tokens} tokens and no answer began: "
                "raise max_tokens, or end the thought earlier with thinking_budget",
                arguments=["max_tokens", "thinking_budget"],
            )
        note("the reply ended after its thought, without an answer")
    return texts["answer"]


def answer_grammar(
    schema: Any, stop: Sequence[str] | None, prefill_response: str, *, may_call: bool = False
) -> AnswerGrammar:
    """The grammar of answers that keep to a JSON schema; one that was compiled before is not compiled again.

    Raises UsageError for a schema that can't be kept to, and where the answer is to begin or stop otherwise.
    """
    if prefill_response or stop:
        raise UsageError("an answer that keeps to a JSON schema can't be begun or stopped by other text; leave it out")
    from gemma4_mlx.engine.schema import compile_schema

    return AnswerGrammar(compile_schema(schema), may_call)
