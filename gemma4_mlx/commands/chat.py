"""`python -m gemma4_mlx.chat`: a conversation in the terminal. Answers go to stdout, everything else to stderr."""

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gemma4_mlx.commands import conversation, slash
from gemma4_mlx.commands.common import add_debug, run
from gemma4_mlx.commands.conversation import Message, Part
from gemma4_mlx.commands.generate import (
    EIGHT_BITS,
    add_media_options,
    add_model_options,
    add_reply_options,
    media_options,
    model_name,
    reply_options,
)
from gemma4_mlx.commands.line_input import ReadLine, line_reader, read_message
from gemma4_mlx.commands.planning import add_memory_options, show_plan
from gemma4_mlx.commands.reply import Reply
from gemma4_mlx.commands.terminal import Terminal
from gemma4_mlx.errors import GemmaError, one_line

if TYPE_CHECKING:
    from gemma4_mlx.engine.options import GenerationOptions
    from gemma4_mlx.engine.plan import Need
    from gemma4_mlx.engine.session import Session
    from gemma4_mlx.model.drafter import Drafter
    from gemma4_mlx.model.unified import Gemma4Unified
    from gemma4_mlx.prompt.processor import MediaOptions, Processor
    from gemma4_mlx.prompt.prompt import MediaKind, Span

FAILURES = (GemmaError, OSError, MemoryError, RuntimeError, UnicodeError)
"""What spoils one turn and not the chat."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    return run(converse, make_parser(), argv)


def make_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog="gemma4_mlx.chat", description="Talk with Gemma 4 12B Unified. /help in the chat lists its commands."
    )
    parser.add_argument("--system", default="", help="instructions for the model")
    add_model_options(parser)
    add_media_options(parser)
    add_reply_options(parser)
    add_memory_options(parser)
    output = parser.add_argument_group("output")
    output.add_argument("--verbose", action="store_true", help="print counts and speeds after each answer")
    add_debug(output)
    return parser


def converse(args: argparse.Namespace) -> int:
    """Talks until Ctrl-D, /exit or the end of standard input."""
    chat = open_chat(args)
    if args.plan:
        return chat.plan()
    read = line_reader()
    if sys.stdin.isatty():
        chat.terminal.note("/help lists the commands; Ctrl-C stops an answer, Ctrl-D ends the chat")
    while not chat.over and (line := next_line(chat, read)) is not None:
        take_turn(chat, line)
    return 0


def next_line(chat: "Chat", read: ReadLine) -> str | None:
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


def take_turn(chat: "Chat", line: str) -> None:
    """Does what a line asks for; what goes wrong is one line on stderr."""
    try:
        slash.follow(chat, line)
    except BrokenPipeError:
        raise
    except FAILURES as error:
        chat.terminal.end()
        if chat.args.debug:
            traceback.print_exc()
        chat.terminal.note(f"error: {one_line(error)}")
    except KeyboardInterrupt:
        chat.terminal.end()
        chat.terminal.note("stopped")


def open_chat(args: argparse.Namespace) -> "Chat":
    """Finds the model; its weights stay on disk until the first question."""
    from gemma4_mlx import api
    from gemma4_mlx.engine.options import GenerationOptions
    from gemma4_mlx.engine.session import Session

    asked = reply_options(args)
    GenerationOptions(**{name: value for name, value in asked.items() if value is not None})
    terminal = Terminal(show_thought=not args.hide_thinking)
    model, processor = api.load(
        model_name(args, terminal),
        revision=args.revision,
        offline=args.offline,
        adapter_path=args.adapter_path,
        lazy=True,
    )
    options = GenerationOptions.from_config(processor.generation_config, **asked)
    drafter = api.load_drafter(args.draft_model, offline=args.offline) if args.draft_model else None
    return Chat(args, terminal, model, processor, options, drafter, Session(model))


@dataclass
class Chat:
    """A conversation and what answers in it.

    Attributes:
        messages: what was said, without the instructions and without thoughts.
        pending: media for the next question.
        unsent: the conversation with a question that got no answer; /retry sends it again.
        session: the caches, kept from turn to turn.
        over: whether it is to end.
    """

    args: argparse.Namespace
    terminal: Terminal
    model: "Gemma4Unified"
    processor: "Processor"
    options: "GenerationOptions"
    drafter: "Drafter | None"
    session: "Session"
    system: str = field(init=False)
    think: bool = field(init=False)
    media: "MediaOptions" = field(init=False)
    messages: list[Message] = field(default_factory=list)
    pending: list[Part] = field(default_factory=list)
    unsent: list[Message] | None = None
    over: bool = False

    def __post_init__(self) -> None:
        self.system, self.think = self.args.system, self.args.enable_thinking
        self.media = media_options(self.args, self.processor.media)
        self.clear()

    @property
    def longest(self) -> int:
        """Positions that the conversation may take."""
        from gemma4_mlx.engine.generation import longest_context

        return longest_context(self.model, self.options)

    def clear(self) -> None:
        """Forgets what was said and attached, and frees its memory; the instructions stay."""
        self.messages, self.pending, self.unsent = [], [], None
        self._renew_session(None if isinstance(self.options.kv_bits, str) else self.options.kv_bits)

    def attach(self, files: "Sequence[tuple[MediaKind, str]]") -> None:
        """Decodes files for the next question: all of them, or none where one can't be read."""
        from gemma4_mlx.media.sources import printable

        self.terminal.status("reading media")
        parts = [part for kind, path in files for part in conversation.attach(kind, path, self.media)]
        self.pending += parts
        names = ", ".join(printable(os.path.basename(path), 60) for _, path in files)
        self.terminal.note(f"attached to the next question: {names}")

    def say(self, text: str) -> None:
        """Asks a question about what is attached."""
        parts, self.pending = self.pending, []
        self.ask([*self.messages, conversation.user_turn(text, parts)])

    def retry(self) -> None:
        """Asks the last question again; its old answer stays until there is a new one."""
        messages = list(self.unsent or self.messages)
        while messages and messages[-1]["role"] != "user":
            messages.pop()
        if not messages:
            raise GemmaError("nothing was asked yet")
        self.ask(messages)

    def ask(self, messages: list[Message]) -> None:
        """Streams the answer; with it `messages` become the conversation, which stays as it was where none comes."""
        said = Reply()
        self.unsent = messages
        try:
            self._make_ready(messages)
            self._listen(messages, said)
        except KeyboardInterrupt:
            said.finish_reason = "interrupted"
        except BrokenPipeError:
            raise
        except FAILURES as error:
            cures = "/retry sends it again, /clear makes room, a shorter question needs less"
            raise GemmaError(f"{one_line(error)}; the question was taken back: {cures}") from error
        self.terminal.end()
        if said.finish_reason == "interrupted" and not said.content:
            self.terminal.note("stopped before an answer: the question was taken back, /retry sends it again")
            return
        self.messages, self.unsent = [*messages, {"role": "assistant", "content": said.content}], None
        self._conclude(said)

    def usage(self) -> str:
        """Tokens used and left, and the memory that is held."""
        from gemma4_mlx.media.sources import size_text

        attached = [conversation.user_turn("", self.pending)] if self.pending else []
        messages = self.with_system([*self.messages, *attached])
        used = len(self.processor.prompt(messages, **self._prompt_options()).ids) if messages else 0
        held = f"the caches hold {self.session.held} tokens in {size_text(self.session.nbytes)}"
        return f"{used} tokens used, {max(0, self.longest - used)} of {self.longest} left; {held}"

    def plan(self) -> int:
        """Prints what a conversation as long as it may be would need; returns the exit code."""
        need = self._need(())
        return show_plan(need, need.choose(self.longest, self.options.kv_bits))

    def with_system(self, messages: list[Message]) -> list[Message]:
        """The messages with the instructions before them."""
        return [{"role": "system", "content": self.system}, *messages] if self.system else messages

    def _listen(self, messages: list[Message], said: Reply) -> None:
        from gemma4_mlx import api

        for response in api.stream_generate(
            self.model,
            self.processor,
            self.with_system(messages),
            **self._prompt_options(),
            session=self.session,
            drafter=self.drafter,
            progress=self.terminal.progress,
            **reply_options(self.args),
        ):
            said.add(response)
            self.terminal.show(response)

    def _conclude(self, said: Reply) -> None:
        """Says whether the answer is whole."""
        if said.finish_reason == "interrupted":
            self.terminal.note("stopped; what was said so far is kept")
        elif said.finish_reason == "length":
            self.terminal.note("cut off: --max-tokens or the context allows no more; /tokens tells what is left")
        if self.args.verbose and said.last is not None:
            self.terminal.report(said.report())

    def _make_ready(self, messages: list[Message]) -> None:
        """Warns where the context nears its end, and takes caches of fewer bits where plain ones would not fit."""
        from gemma4_mlx.engine.generation import check_length

        self.terminal.status("reading the prompt")
        prompt = self.processor.prompt(self.with_system(messages), **self._prompt_options())
        left = self.longest - len(prompt.ids)
        if 0 < left < self.options.max_tokens:
            self.terminal.note(
                f"near the end of the context: {left} tokens are left for the answer; "
                "/clear begins anew, a shorter question leaves more"
            )
        total = check_length(self.model, prompt, self.options)
        bits = self._need(prompt.spans).choose(self.session.room(total), self.options.kv_bits).kv_bits
        if bits not in (None, self.session.kv_bits):
            self.terminal.note(EIGHT_BITS)
            self._renew_session(bits)

    def _renew_session(self, kv_bits: int | None) -> None:
        """Empty caches in the place of the old ones; they grow ahead of need only as far as memory allows."""
        from gemma4_mlx.engine.session import Session

        self.session.clear()
        self.session = Session(self.model, kv_bits, self.options.kv_group_size)
        self.session.longest = min(self.longest, self._need(()).longest(kv_bits))

    def _need(self, spans: "Sequence[Span]") -> "Need":
        """What the model needs in memory, for conversations of any length with these media."""
        from gemma4_mlx.engine.generation import memory_need
        from gemma4_mlx.prompt.prompt import Prompt

        return memory_need(self.model, Prompt((), spans), self.options, self.session, self.drafter)

    def _prompt_options(self) -> dict[str, Any]:
        return {"enable_thinking": self.think, "template_variables": self.args.chat_template_config}
