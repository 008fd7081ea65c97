"""A conversation and what answers in it."""

import argparse
import os
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gemma4_mlx.commands import conversation
from gemma4_mlx.commands.common import explained
from gemma4_mlx.commands.conversation import Message, Part
from gemma4_mlx.commands.options import EIGHT_BITS, media_options, reply_options
from gemma4_mlx.commands.planning import show_plan
from gemma4_mlx.commands.reply import Reply
from gemma4_mlx.commands.terminal import Terminal
from gemma4_mlx.commands.tools import Toolbox, longest_result
from gemma4_mlx.commands.typeahead import Typeahead
from gemma4_mlx.errors import GemmaError

if TYPE_CHECKING:
    from gemma4_mlx.engine.generation import Response
    from gemma4_mlx.engine.options import GenerationOptions
    from gemma4_mlx.engine.plan import Need
    from gemma4_mlx.engine.session import Session
    from gemma4_mlx.model.drafter import Drafter
    from gemma4_mlx.model.unified import Gemma4Unified
    from gemma4_mlx.prompt.processor import MediaOptions, Processor
    from gemma4_mlx.prompt.prompt import MediaKind, Prompt, Span


SHORT = 16
"""Tokens of a short question."""


@dataclass
class Chat:
    """A conversation and what answers in it.

    Attributes:
        messages: what was said, without the instructions and without thoughts.
        pending: media for the next question, until it has an answer.
        unsent: the conversation with a question that got no answer; /retry sends it again.
        said: the reply that is being written, or was last.
        session: the caches, kept from turn to turn.
        toolbox: what the model may call.
        written: the files that were saved here, as they were left.
        loaded: the file that the conversation goes on from, as it was read; None if it began here.
        asked: how the reply is to be, as the command line and /set say; None for what they leave to the checkpoint.
        typeahead: what is typed while the model answers.
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
    said: Reply = field(default_factory=Reply)
    toolbox: Toolbox = field(default_factory=Toolbox)
    written: dict[Path, tuple[int, int, int]] = field(default_factory=dict)
    loaded: tuple[Path, tuple[int, int, int]] | None = None
    asked: dict[str, Any] = field(init=False)
    typeahead: Typeahead = field(default_factory=lambda: Typeahead(None))
    _room: tuple[int, str] = field(init=False)
    over: bool = False

    def __post_init__(self) -> None:
        self.system, self.think = self.args.system, self.args.enable_thinking
        self.media = media_options(self.args, self.processor.media)
        self.asked = reply_options(self.args)
        self._room = self.longest, "context"
        self.clear()

    @property
    def longest(self) -> int:
        """Positions that the conversation may take."""
        from gemma4_mlx.engine.generation import longest_context

        return longest_context(self.model, self.options)

    def clear(self) -> None:
        """Forgets what was said and attached, and frees its memory; the instructions stay."""
        self.messages, self.pending, self.unsent, self.loaded = [], [], None, None
        self._renew_session(None if isinstance(self.options.kv_bits, str) else self.options.kv_bits)

    def set_option(self, name: str, value: Any) -> None:
        """Change how replies are from now on; None goes back to what the checkpoint says. Raises UsageError."""
        from gemma4_mlx.engine.options import GenerationOptions

        asked = self.asked | {name: value}
        self.options = GenerationOptions.from_config(self.processor.generation_config, **asked)
        self.asked = asked

    def attach(self, files: "Sequence[tuple[MediaKind, str]]", found: Collection[str] = ()) -> None:
        """Decodes files for the next question: all of them, or none if one that was named can't be read.

        Of the `found`, which a folder or a pattern gave, those are left out, unless nothing can be read.
        """
        parts: list[Part] = []
        attached, left_out = [], []
        for kind, path in files:
            try:
                parts += self._decode([(kind, path)])
                attached.append((kind, path))
            except GemmaError as error:
                left_out.append(error)
                if path not in found:
                    raise
        if not attached and left_out:
            raise left_out[0]
        self.pending += parts
        for why in left_out:
            self.terminal.note(f"left out: {explained(why)}")
        self.terminal.note(f"attached to the next question: {_names(attached)}")

    def say(self, text: str, files: "Sequence[tuple[MediaKind, str]]" = ()) -> None:
        """Asks a question about what is attached, and the files that it names."""
        named = self._decode(files) if files else []
        if named:
            self.terminal.note(f"attached: {_names(files)}")
        self.ask([*self.messages, conversation.user_turn(text, [*self.pending, *named])])

    def _decode(self, files: "Sequence[tuple[MediaKind, str]]") -> list[Part]:
        self.terminal.status("reading media")
        return [part for kind, path in files for part in conversation.attach(kind, path, self.media)]

    def retry(self) -> None:
        """Asks the last question again; its old answer stays until there is a new one."""
        messages = list(self.unsent or self.messages)
        while messages and messages[-1]["role"] != "user":
            messages.pop()
        if not messages:
            raise GemmaError("nothing was asked yet")
        self.ask(messages)

    def ask(self, messages: list[Message]) -> None:
        """Streams the answer, running the tools that it calls; with it `messages` become the conversation.

        Where no answer comes the conversation stays as it was, and what is attached stays so. Ctrl-C keeps what was
        said, if somebody sits at a terminal to go on.
        """
        from gemma4_mlx.agent import ToolResult, run_agent

        self.unsent, told = messages, list(messages)
        self.said = Reply()
        try:
            limit = longest_result(self.longest)
            for event in run_agent(
                self._reply, told, self.toolbox.tools, confirm=self.toolbox.confirm, longest_result=limit
            ):
                self.typeahead.collect()
                if isinstance(event, ToolResult):
                    self.terminal.show_result(event)
                else:
                    self.said.add(event)
                    self.terminal.show(event)
        except KeyboardInterrupt:
            if not sys.stdin.isatty():
                raise
            self.said.finish_reason = "interrupted"
            told.append({"role": "assistant", "content": self.said.content})
        except BrokenPipeError:
            raise
        except Exception as error:
            cures = "/retry sends it again, /clear makes room, a shorter question needs less"
            raise GemmaError(f"{explained(error)}; the question was taken back{self._kept()}: {cures}") from error
        self.terminal.end()
        if self.said.finish_reason == "interrupted" and not self.said.content.strip():
            self.terminal.note(
                f"stopped before an answer: the question was taken back{self._kept()}, /retry sends it again"
            )
            return
        self.messages, self.unsent = [without_thought(message) for message in told], None
        self.pending = not_sent(self.pending, messages)
        self._conclude(self.said)

    def _kept(self) -> str:
        """What is said of media that wait for the next question."""
        return ", what is attached stays attached (/detach drops it)" if self.pending else ""

    def check_fit(self) -> None:
        """Raise DoesNotFitError if memory has no room for even a short question with the answer it may have."""
        from gemma4_mlx.engine.plan import check

        need = self._need(())
        plan = need.choose(min(SHORT + self.options.max_tokens, self.longest), self.options.kv_bits)
        if not need.longest(plan.kv_bits):  # else the answer is kept to what fits
            check(need, plan)

    def usage(self) -> str:
        """Tokens used and left, and the memory that is held."""
        from gemma4_mlx.media.sources import size_text

        attached = [conversation.user_turn("", self.pending)] if self.pending else []
        messages = [*self.messages, *attached]
        used = len(self._read(messages).ids) if messages else 0
        held = f"the caches hold {self.session.held} tokens in {size_text(self.session.nbytes)}"
        return f"{used} tokens used, {max(0, self.longest - used)} of {self.longest} left; {held}"

    def plan(self) -> int:
        """Prints what a conversation as long as it may be would need; returns the exit code."""
        need = self._need(())
        return show_plan(need, need.choose(self.longest, self.options.kv_bits), as_json=self.args.json)

    def with_system(self, messages: Sequence[Message]) -> list[Message]:
        """The messages with the instructions before them."""
        return [*([{"role": "system", "content": self.system}] if self.system else []), *messages]

    def _reply(self, messages: Sequence[Message]) -> "Iterator[Response]":
        """One reply of the model, of which `said` is kept."""
        from gemma4_mlx import api

        self.said = Reply()
        prompt = self._read(messages)
        longest = self._make_ready(prompt)
        return api.stream_generate(
            self.model,
            self.processor,
            prompt,
            tools=list(self.toolbox.tools.values()),
            session=self.session,
            drafter=self.drafter,
            progress=self.terminal.progress,
            **self.asked | {"max_kv_size": longest},
        )

    def _read(self, messages: Sequence[Message]) -> "Prompt":
        """The conversation as the model reads it."""
        return self.processor.prompt(
            self.with_system(messages),
            tools=self.toolbox.declarations,
            enable_thinking=self.think,
            template_variables=self.args.chat_template_config,
        )

    def _conclude(self, said: Reply) -> None:
        """Says whether the answer is whole."""
        if said.finish_reason == "interrupted":
            self.terminal.note("stopped; what was said so far is kept")
        elif said.finish_reason == "length" and said.last is not None:
            began = bool(said.content.strip()) or not (said.reasoning or said.last.channel == "thought")
            what = "the answer is cut off" if began else "the thought took all tokens and no answer began"
            self.terminal.note(f"{what}: {self._limit(said.last)}")
        if self.args.verbose and said.last is not None:
            self.terminal.report(said.report() | said.drafts())

    def _limit(self, last: "Response") -> str:
        """What ended a reply, and what to do."""
        longest, end = self._room
        if last.prompt_tokens + last.generation_tokens < longest:
            most = self.options.max_tokens
            return f"max_tokens is {most}; /set max_tokens {4 * most} and /retry allow more"
        full = f"--max-kv-size {longest} allows" if longest == self.options.max_kv_size else f"the {end} has room for"
        return f"{full} no more than {longest} tokens; /clear begins anew"

    def _make_ready(self, prompt: "Prompt") -> int:
        """Takes caches of fewer bits where plain ones would not fit, and warns where the end is near.

        Returns how many positions prompt and answer may take in the context, or in memory where that has less room.
        """
        from gemma4_mlx.engine.generation import check_length

        self.terminal.status("reading the prompt")
        need, longest, end = self._need(prompt.spans), self.longest, "context"
        total = check_length(self.model, prompt, self.options)
        bits = need.choose(max(total, self.session.max_length), self.options.kv_bits).kv_bits
        if bits not in (None, self.session.kv_bits):
            self.terminal.note(EIGHT_BITS)
            self._renew_session(bits)
        fits = need.longest(self.session.kv_bits)
        if len(prompt.ids) < fits < min(longest, need.longest_asked):
            longest, end = fits, "memory"
        self._room = longest, end
        left = longest - len(prompt.ids)
        if left < self.options.max_tokens:
            self.terminal.note(
                f"near the end of the {end}: {left} tokens are left for the answer; "
                "/clear begins anew, a shorter question leaves more"
            )
        return longest

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


def _names(files: "Sequence[tuple[MediaKind, str]]") -> str:
    from gemma4_mlx.media.sources import printable

    return ", ".join(printable(os.path.basename(path), 60) for _, path in files)


def not_sent(parts: Sequence[Part], messages: Sequence[Message]) -> list[Part]:
    """The parts that are in none of the messages. The same file attached twice is two parts."""
    contents = [message["content"] for message in messages]
    sent = {id(part) for content in contents if isinstance(content, list) for part in content}
    return [part for part in parts if id(part) not in sent]


def without_thought(message: Message) -> Message:
    """A message as it goes into the history."""
    return {name: value for name, value in message.items() if name != "reasoning"}
