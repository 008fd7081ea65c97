"""`python -m gemma4_mlx.chat`: a conversation in the terminal. Answers go to stdout, everything else to stderr."""

import argparse
import sys
import traceback
from collections.abc import Sequence

from gemma4_mlx.commands import slash
from gemma4_mlx.commands.common import EXIT_FAILED, add_debug, explained, run
from gemma4_mlx.commands.line_input import ReadLine, line_reader, read_message
from gemma4_mlx.commands.options import (
    add_common_options,
    given_drafter,
    model_name,
    note_options_without_effect,
    reply_options,
)
from gemma4_mlx.commands.talk import Chat
from gemma4_mlx.commands.terminal import Terminal
from gemma4_mlx.commands.tools import add_tool_options, check_tool_usage, open_tools


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    return run(converse, make_parser(), argv)


def make_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog="gemma4_mlx.chat", description="Talk with Gemma 4 12B Unified. /help in the chat lists its commands."
    )
    parser.add_argument("--system", default="", help="instructions for the model")
    add_common_options(parser)
    add_tool_options(parser)
    output = parser.add_argument_group("output")
    output.add_argument("--verbose", action="store_true", help="print counts and speeds after each answer")
    add_debug(output)
    return parser


def converse(args: argparse.Namespace) -> int:
    """Talks until Ctrl-D, /exit or the end of standard input. A script is told at its end that a line of it failed."""
    check_tool_usage(args)
    note_options_without_effect(args)
    chat = open_chat(args)
    with open_tools(args, chat.terminal) as chat.toolbox:
        if args.plan:
            return chat.plan()
        read = line_reader()
        if sys.stdin.isatty():
            chat.terminal.note("/help lists the commands; Ctrl-C stops an answer, Ctrl-D ends the chat")
        failed = False
        while not chat.over and (line := next_line(chat, read)) is not None:
            failed = not take_turn(chat, line) or failed
    return EXIT_FAILED if failed and not sys.stdin.isatty() else 0


def next_line(chat: Chat, read: ReadLine) -> str | None:
    """What is typed next; None at the end. In a terminal Ctrl-C only drops the line."""
    while True:
        try:
            return read_message(read)
        except EOFError:
            return None
        except KeyboardInterrupt:
            if not sys.stdin.isatty():
                raise
            chat.terminal.note("the line is dropped; Ctrl-D or /exit ends the chat")


def take_turn(chat: Chat, line: str) -> bool:
    """Does what a line asks for; what goes wrong is one line on stderr. Returns whether nothing did.

    In a terminal Ctrl-C stops what the line asks for, else the chat.
    """
    try:
        slash.follow(chat, line)
    except BrokenPipeError:
        raise
    except Exception as error:
        chat.terminal.end()
        if chat.args.debug:
            traceback.print_exc()
        chat.terminal.note(f"error: {explained(error)}")
        return False
    except KeyboardInterrupt:
        chat.terminal.end()
        if not sys.stdin.isatty():
            raise
        chat.terminal.note("stopped")
    return True


def open_chat(args: argparse.Namespace) -> Chat:
    """Finds the model; its weights may stay on disk until the first question."""
    from gemma4_mlx import api
    from gemma4_mlx.engine.options import GenerationOptions
    from gemma4_mlx.engine.session import Session

    asked = reply_options(args)
    GenerationOptions(**{name: value for name, value in asked.items() if value is not None})
    terminal = Terminal(show_thought=not args.hide_thinking, markdown=True)
    model, processor = api.load(
        model_name(args, terminal),
        revision=args.revision,
        offline=args.offline,
        adapter_path=args.adapter_path,
        lazy=True if args.plan else "auto",
        memory_limit=args.memory_limit,
    )
    options = GenerationOptions.from_config(processor.generation_config, **asked)
    return Chat(args, terminal, model, processor, options, given_drafter(args), Session(model))
