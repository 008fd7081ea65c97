"""`python -m gemma4_mlx.chat`: a conversation in the terminal. Answers go to stdout, everything else to stderr."""

import argparse
import sys
import traceback
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from gemma4_mlx.commands import slash
from gemma4_mlx.commands.attachments import STDIN, add_attachments, find_media
from gemma4_mlx.commands.common import EXIT_FAILED, add_debug, explained, restore_terminal, run, terminal_settings
from gemma4_mlx.commands.line_input import ReadLine, line_reader, read_message
from gemma4_mlx.commands.options import (
    add_common_options,
    choice_named,
    given_drafter,
    model_name,
    note_options_without_effect,
    reply_options,
)
from gemma4_mlx.commands.question import out_of_file, reads_stdin, settle_question
from gemma4_mlx.commands.set_option import NAMES
from gemma4_mlx.commands.talk import Chat
from gemma4_mlx.commands.terminal import Terminal
from gemma4_mlx.commands.tools import add_tool_options, check_tool_usage, open_tools
from gemma4_mlx.commands.typeahead import Typeahead
from gemma4_mlx.errors import UsageError

if TYPE_CHECKING:
    from prompt_toolkit.completion import Completer
    from prompt_toolkit.history import History

PROG = "gemma4_mlx.chat"


def main(argv: Sequence[str] | None = None, prog: str = PROG) -> int:
    """Run the command, called `prog` in what it says of itself; return its exit code."""
    return run(converse, make_parser(prog), argv)


def make_parser(prog: str = PROG) -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog=prog, description="Talk with Gemma 4 12B Unified. /help in the chat lists its commands."
    )
    ask = parser.add_argument_group("how it begins")
    ask.add_argument(
        "--system", default="", help="instructions for the model; @FILE reads them from a file, @@ is an @"
    )
    ask.add_argument("words", nargs="*", metavar="QUESTION", help="the first question, if --prompt gives none")
    ask.add_argument("--prompt", "-p", help="the first question; @FILE reads it from a file")
    add_attachments(parser, ask)
    add_common_options(parser)
    add_tool_options(parser)
    output = parser.add_argument_group("output")
    output.add_argument("--verbose", action="store_true", help="print counts and speeds after each answer")
    output.add_argument("--no-history", action="store_true", help="neither recall nor keep the lines that are typed")
    output.add_argument("--json", action="store_true", help="print what --plan says as one JSON object")
    add_debug(output)
    return parser


def converse(args: argparse.Namespace) -> int:
    """Talks until Ctrl-D, /exit or the end of standard input. A script is told at its end that a line of it failed."""
    check_usage(args)
    note_options_without_effect(argparse.Namespace(**{**vars(args), "image": True, "video": True}))  # they may come
    settings, typeahead = terminal_settings(), Typeahead.of_stdin()
    try:
        with typeahead.guarded():
            return talk(args, typeahead)
    finally:
        restore_terminal(settings)


def check_usage(args: argparse.Namespace) -> None:
    """Raise UsageError or GemmaError for what can be told before anything is loaded."""
    check_tool_usage(args)
    settle_question(args)
    if reads_stdin(args.prompt) or STDIN in (source for _, source in args.media):
        raise UsageError("- is standard input, and the conversation comes from there: give the text, or name the file")
    args.system = out_of_file(args.system, "--system")
    if args.prompt is not None:
        args.prompt = out_of_file(args.prompt)
    if args.prompt is not None and not args.prompt.strip():
        raise UsageError("--prompt is empty; leave it out to be asked for the first question")
    find_media(args)


def talk(args: argparse.Namespace, typeahead: Typeahead) -> int:
    """The conversation; what is typed while nothing is asked for waits in `typeahead`."""
    with ExitStack() as until_end:
        with typeahead.kept():
            chat = open_chat(args, typeahead)
            chat.toolbox = until_end.enter_context(open_tools(args, chat.terminal))
        if args.plan:
            return chat.plan()
        read = line_reader(typeahead, lambda: (completer(), history(args)))
        with typeahead.kept():
            failed = not begin(chat)
        while not chat.over and (line := next_line(chat, read)) is not None:
            with typeahead.kept():
                failed = not take_turn(chat, line) or failed
    return EXIT_FAILED if failed and not sys.stdin.isatty() else 0


def begin(chat: Chat) -> bool:
    """Greets, and asks what the command line asks. Returns whether that went well; files that can't be read end it."""
    if sys.stdin.isatty():
        chat.terminal.note("/help lists the commands; Ctrl-C stops an answer, Ctrl-D ends the chat")
    if chat.args.media:
        chat.attach(chat.args.media)
    if chat.args.prompt is None:
        return True
    if sys.stdin.isatty():
        chat.terminal.note(f"> {chat.args.prompt}")
    return take_turn(chat, f" {chat.args.prompt}")  # the space makes it a question


def completer() -> "Completer":
    """What Tab completes."""
    from gemma4_mlx.commands.completion import ChatCompleter

    words = {"/think": ("on", "off"), "/set": NAMES}
    return ChatCompleter([*slash.COMMANDS, *slash.ALIASES], words)


def history(args: argparse.Namespace) -> "History":
    """The lines of earlier chats, or only those of this one."""
    from prompt_toolkit.history import InMemoryHistory

    from gemma4_mlx.commands.input_history import InputHistory, history_file

    return InMemoryHistory() if args.no_history else InputHistory(history_file())


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


def take_turn(chat: Chat, message: str) -> bool:
    """Does what a message asks for, command by command. Returns whether nothing went wrong."""
    return False not in [_follow(chat, line) for line in slash.entries(message) if not chat.over]


def _follow(chat: Chat, line: str) -> bool:
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


def open_chat(args: argparse.Namespace, typeahead: Typeahead) -> Chat:
    """Find the model; its weights may stay on disk until the first question. Raises DoesNotFitError if it can't fit."""
    from gemma4_mlx import api
    from gemma4_mlx.engine.options import GenerationOptions
    from gemma4_mlx.engine.session import Session

    asked = reply_options(args)
    GenerationOptions(**{name: value for name, value in asked.items() if value is not None})
    terminal = Terminal(show_thought=not args.hide_thinking, markdown=True, typeahead=typeahead)
    with choice_named(args):
        model, processor = api.load(
            model_name(args, terminal),
            revision=args.revision,
            offline=args.offline,
            adapter_path=args.adapter_path,
            lazy=True if args.plan else "auto",
            memory_limit=args.memory_limit,
        )
    options = GenerationOptions.from_config(processor.generation_config, **asked)
    chat = Chat(args, terminal, model, processor, options, given_drafter(args), Session(model), typeahead=typeahead)
    if not args.plan:
        chat.check_fit()
    terminal.clear()
    return chat
