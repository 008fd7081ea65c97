"""`python -m gemma4_mlx.generate`: one question, one answer on stdout; everything else goes to stderr."""

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gemma4_mlx.commands.attachments import STDIN, STDIN_NAMES, add_attachments, check_count, find_media
from gemma4_mlx.commands.common import EXIT_INTERRUPTED, add_debug, run
from gemma4_mlx.commands.options import (
    EIGHT_BITS,
    add_common_options,
    choice_named,
    given_drafter,
    media_options,
    model_name,
    note_options_without_effect,
    reply_options,
)
from gemma4_mlx.commands.planning import show_plan
from gemma4_mlx.commands.prompt_cache import open_session, save_session
from gemma4_mlx.commands.question import (
    MOST_INPUT,
    as_text,
    out_of_file,
    read_question,
    reads_stdin,
    settle_question,
)
from gemma4_mlx.commands.reply import Reply, json_text, with_beginning
from gemma4_mlx.commands.terminal import Terminal
from gemma4_mlx.commands.tools import Toolbox, add_tool_options, check_tool_usage, longest_result, open_tools
from gemma4_mlx.errors import GemmaError, UsageError, one_line, shortened
from gemma4_mlx.files import check_writable, read_given_json

if TYPE_CHECKING:
    from gemma4_mlx.agent import ToolResult
    from gemma4_mlx.engine.generation import Response
    from gemma4_mlx.engine.options import GenerationOptions
    from gemma4_mlx.engine.session import Session
    from gemma4_mlx.model.drafter import Drafter
    from gemma4_mlx.model.unified import Gemma4Unified
    from gemma4_mlx.prompt.processor import MediaOptions, Processor
    from gemma4_mlx.prompt.prompt import Prompt


OPEN_FILE = re.compile(r"/(?:dev|proc/self)/fd/\d+")
"""As a shell names what it has opened: <(COMMAND) is a pipe."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question: who is asked, the conversation with its media decoded, what of it the model reads, how it is to
    reply, and the JSON schema that the answer is to keep to (None for any answer)."""

    model: "Gemma4Unified"
    processor: "Processor"
    drafter: "Drafter | None"
    messages: Sequence[Mapping[str, Any]]
    prompt: "Prompt"
    options: "GenerationOptions"
    schema: Any


PROG = "gemma4_mlx.generate"


def main(argv: Sequence[str] | None = None, prog: str = PROG) -> int:
    """Run the command, called `prog` in what it says of itself; return its exit code."""
    return run(answer, make_parser(prog), argv)


def make_parser(prog: str = PROG) -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog=prog, description="Ask Gemma 4 12B Unified about text, images, audio and video."
    )
    ask = parser.add_argument_group("what to ask")
    ask.add_argument("words", nargs="*", metavar="QUESTION", help="the question, if --prompt gives none")
    ask.add_argument(
        "--prompt",
        "-p",
        help="the question; @FILE reads it from a file, - from standard input, @@ is an @; "
        "what is piped in otherwise stands before it",
    )
    ask.add_argument("--system", help="instructions for the model; @FILE reads them from a file, @@ is an @")
    add_attachments(parser, ask)
    ask.add_argument("--prefill-response", default="", help="how the answer begins")
    ask.add_argument(
        "--prompt-cache-file",
        metavar="FILE",
        help="reuse what this file holds of the prompt's beginning, and keep prompt and reply in it",
    )
    add_common_options(parser)
    add_tool_options(parser)
    output = parser.add_argument_group("output")
    output.add_argument(
        "--json-schema",
        metavar="SCHEMA",
        help="keep the answer to a JSON schema: a file, - for standard input, or {...} itself",
    )
    output.add_argument("--json", action="store_true", help="print one JSON object: the answer, or --plan")
    output.add_argument("--verbose", action="store_true", help="also print timings, and how good a drafter guessed")
    add_debug(output)
    return parser


def answer(args: argparse.Namespace) -> int:
    """Loads, asks, prints. Ctrl-C keeps what was said."""
    started = time.perf_counter()
    check_usage(args)
    note_options_without_effect(args)
    schema = given_schema(args)
    terminal = Terminal(show_thought=not args.hide_thinking and not args.json)
    read_stdin(args, terminal)
    model, processor, conversation = prepare(args, terminal)
    drafter = given_drafter(args)
    with open_tools(args, terminal) as toolbox:
        terminal.status("reading the prompt")
        prompt, options = prompt_and_options(args, processor, conversation, toolbox)
        asked = Asked(model, processor, drafter, conversation, prompt, options, schema)
        keeps = args.prompt_cache_file is not None or bool(toolbox.tools)
        if args.plan:
            return plan(terminal, asked, keeps=keeps, as_json=args.json)
        session = open_session(args.prompt_cache_file, model, prompt, options) if keeps else None
        said = speak(args, terminal, asked, session, toolbox)
    if args.json:
        print(json_text(said.as_dict()))
    if said.last is not None:
        times = {"First token": f"{said.first_token - started:.2f} s"}
        terminal.report(said.report() | (said.drafts() | times if args.verbose else {}))
    if session is not None and args.prompt_cache_file is not None:
        save_session(session, args.prompt_cache_file)
    if said.error is not None:
        raise said.error
    return EXIT_INTERRUPTED if said.finish_reason == "interrupted" else 0


def prepare(
    args: argparse.Namespace, terminal: Terminal
) -> tuple["Gemma4Unified", "Processor", Sequence[Mapping[str, Any]]]:
    """The model, its processor, and the conversation with its media decoded.

    Media come before the weights, so that a wrong file fails at once.
    """
    from gemma4_mlx import api
    from gemma4_mlx.checkpoint.hub import resolve
    from gemma4_mlx.prompt.processor import MediaOptions

    with choice_named(args):
        folder = resolve(model_name(args, terminal), revision=args.revision, offline=args.offline)
        own = MediaOptions.from_folder(folder)
    terminal.status("reading media")
    conversation = messages(args, media_options(args, own))
    terminal.status("loading the model")
    lazy: bool | Literal["auto"] = True if args.plan else "auto"
    with choice_named(args):
        model, processor = api.load(folder, adapter_path=args.adapter_path, lazy=lazy, memory_limit=args.memory_limit)
    return model, processor, conversation


def plan(terminal: Terminal, asked: Asked, *, keeps: bool, as_json: bool) -> int:
    """Prints what the reply would need, with a session if it `keeps` one; the weights stay on disk."""
    from gemma4_mlx.engine.generation import check_length, memory_need
    from gemma4_mlx.engine.session import Session

    options = asked.options
    need = memory_need(asked.model, asked.prompt, options, Session(asked.model) if keeps else None, asked.drafter)
    terminal.clear()
    chosen = need.choose(check_length(asked.model, asked.prompt, options), options.kv_bits)
    return show_plan(need, chosen, as_json=as_json)


def prompt_and_options(
    args: argparse.Namespace, processor: "Processor", conversation: Sequence[Mapping[str, Any]], toolbox: Toolbox
) -> tuple["Prompt", "GenerationOptions"]:
    """What the model is to read, and how it is to reply."""
    from gemma4_mlx.engine.options import GenerationOptions

    options = GenerationOptions.from_config(processor.generation_config, **reply_options(args))
    return processor.prompt(conversation, tools=toolbox.declarations, **prompt_options(args)), options


def replier(
    args: argparse.Namespace, terminal: Terminal, asked: Asked, session: "Session | None", toolbox: Toolbox
) -> Callable[[Sequence[Mapping[str, Any]]], "Iterator[Response]"]:
    """What replies to a conversation that begins with what was asked."""
    from gemma4_mlx import api

    def reply(messages: Sequence[Mapping[str, Any]]) -> "Iterator[Response]":
        pieces = api.stream_generate(
            asked.model,
            asked.processor,
            asked.prompt if len(messages) == len(asked.messages) else messages,
            tools=list(toolbox.tools.values()),
            **prompt_options(args),
            json_schema=asked.schema,
            session=session,
            drafter=asked.drafter,
            progress=terminal.progress,
            **reply_options(args),
        )
        return with_beginning(args.prefill_response, pieces)

    return reply


def speak(
    args: argparse.Namespace, terminal: Terminal, asked: Asked, session: "Session | None", toolbox: Toolbox
) -> Reply:
    """Streams the reply to the terminal, running the tools that it calls; Ctrl-C ends it where it is."""
    from gemma4_mlx.agent import run_agent

    reply, said = replier(args, terminal, asked, session, toolbox), Reply()
    events: Iterable[Response | ToolResult] = reply(asked.messages)
    if toolbox.tools:
        messages = [dict(message) for message in asked.messages]
        context = asked.model.config.text.max_position_embeddings
        limit = longest_result(min(context, args.max_kv_size or context))
        events = run_agent(reply, messages, toolbox.tools, confirm=toolbox.confirm, longest_result=limit)
    try:
        for event in events:
            show(args, terminal, said, event, runs_tools=bool(toolbox.tools))
        terminal.end()
        said.check_end(asked.options, asked.model.config.text.max_position_embeddings)
    except KeyboardInterrupt:
        terminal.end()
        said.interrupt()
    except GemmaError as error:
        if said.last is None:
            raise
        said.error = error
    terminal.end()
    return said


def show(
    args: argparse.Namespace, terminal: Terminal, said: Reply, event: "Response | ToolResult", *, runs_tools: bool
) -> None:
    """Takes note of a piece of the reply, or of a tool's result, and prints it unless one JSON object is asked for."""
    from gemma4_mlx.agent import ToolResult

    if isinstance(event, ToolResult):
        said.add_result(event)
        terminal.show_result(event)
        return
    if said.last is None and event.kv_bits is not None and args.kv_bits is None:
        terminal.note(EIGHT_BITS)
    said.add(event)
    if event.malformed is not None and not runs_tools:
        raise GemmaError(event.malformed.message)
    if not args.json:
        terminal.show(event)
        if event.call is not None and not runs_tools:
            terminal.show_call(event.call)


def check_usage(args: argparse.Namespace) -> None:
    """Raises UsageError for what can be told before anything is loaded."""
    settle_question(args)
    check_file_names(args)
    args.system = out_of_file(args.system, "--system") if args.system else args.system
    if stdin_readers(args) > 1:
        raise UsageError("standard input can be read once: only one option may be -")
    if args.thinking_budget is not None and not args.enable_thinking:
        raise UsageError("--thinking-budget limits a thought, and there is none without --enable-thinking")
    check_tool_usage(args)
    if args.mcp is not None:  # before a model is looked for; notes come once
        from gemma4_mlx.mcp_config import read_servers

        read_servers(args.mcp)
    if args.prompt_cache_file is not None and not Path(args.prompt_cache_file).expanduser().parent.is_dir():
        raise UsageError(f"--prompt-cache-file {args.prompt_cache_file}: there is no such folder; make it first")
    if args.prompt_cache_file is not None:
        check_writable(args.prompt_cache_file)
    from gemma4_mlx.engine.options import GenerationOptions

    GenerationOptions(**{name: value for name, value in reply_options(args).items() if value is not None})


def check_file_names(args: argparse.Namespace) -> None:
    """Raise UsageError for a name of a file that is empty, as that of a variable of the shell without a value."""
    for flag, name in (("--prompt-cache-file", args.prompt_cache_file), ("--json-schema", args.json_schema)):
        if name is not None and not name.strip():
            raise UsageError(f"{flag}: the name of a file is missing; leave {flag} out, or give one")


def stdin_readers(args: argparse.Namespace) -> int:
    """The number of options that name standard input."""
    names = (args.json_schema in STDIN_NAMES, *(word == STDIN for _, word in args.media))
    return reads_stdin(args.prompt) + sum(names)


def given_schema(args: argparse.Namespace) -> Any:
    """The JSON schema of --json-schema, None without one. What is wrong with it is told before anything is loaded."""
    file = args.json_schema
    if file is None:
        return None
    from gemma4_mlx import api

    schema = read_schema_option(file)
    api.answer_grammar(schema, args.stop, args.prefill_response)
    return schema


def read_schema_option(given: str) -> Any:
    """The JSON schema that a text is, or that a file or standard input (-) holds. Raises GemmaError."""
    name = f"--json-schema {shortened(given)}"
    if given.startswith("@") and not os.path.exists(given):  # as --prompt takes files
        given = given[1:]
    if given.lstrip().startswith(("{", "[")):
        text, name = given, f"{name} was read as the schema itself, not as the name of a file"
    elif given in STDIN_NAMES:
        text = as_text(sys.stdin.buffer.read(MOST_INPUT + 1), "standard input")
    elif OPEN_FILE.fullmatch(given):
        with open(given, "rb") as file:
            text = as_text(file.read(MOST_INPUT + 1), name)
    else:
        return read_given_json(given, name)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise GemmaError(f"{name}: it is not JSON ({shortened(one_line(error))})") from None


def read_stdin(args: argparse.Namespace, terminal: Terminal) -> None:
    """Read the question, which may come in at standard input, and find the media. Raises GemmaError."""
    asks_before_tools = args.mcp is not None and not args.yes
    read_question(args, terminal, stdin_is_free=not (stdin_readers(args) or asks_before_tools))
    find_media(args)


def prompt_options(args: argparse.Namespace) -> dict[str, Any]:
    """What the command line says of the prompt."""
    return {
        "enable_thinking": args.enable_thinking,
        "prefill_response": args.prefill_response,
        "template_variables": args.chat_template_config,
    }


def messages(args: argparse.Namespace, media: "MediaOptions") -> list[dict[str, Any]]:
    """The conversation, its media decoded."""
    from gemma4_mlx.prompt.turns import question_about

    given = find_media(args)
    check_count(given, media)
    system = [{"role": "system", "content": args.system}] if args.system else []
    return [*system, question_about(given, args.prompt, media)]
