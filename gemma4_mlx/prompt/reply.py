"""Token ids of a reply -> pieces of text as they stream, thought, answer and tool calls apart.

A thought is `<|channel>thought\\n...<channel|>`, a call `<|tool_call>...<tool_call|>`. Both are told by token ids, so
text that only looks like a mark never opens one; only where an answer begins, a thought or a declared tool's call
that lost its first mark is read as what it is. No other control token is ever shown.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from gemma4_mlx.errors import GemmaError, shortened
from gemma4_mlx.prompt.calls import MAX_CALLS, CallReader, MalformedCall, ToolCall
from gemma4_mlx.prompt.lexemes import QUOTE
from gemma4_mlx.prompt.lost_marks import CALL_BEGINNINGS, ChannelLabel, beginning, is_lost_thought
from gemma4_mlx.prompt.stops import StopStrings
from gemma4_mlx.prompt.tokenizer import Tokenizer
from gemma4_mlx.prompt.tools import Tool

Channel = Literal["answer", "thought", "tool"]

CHANNEL_START, CHANNEL_END = "<|channel>", "<channel|>"
CALL_START, CALL_END, RESPONSE_START = "<|tool_call>", "<tool_call|>", "<|tool_response>"


def open_thought(tokenizer: Tokenizer, prompt_ids: Sequence[int]) -> int | None:
    """Where the thought begins that a prompt leaves open, at its mark; None where the reply begins outside of one."""
    marks = (tokenizer.id(CHANNEL_START), tokenizer.id(CHANNEL_END))
    last = next((at for at in range(len(prompt_ids) - 1, -1, -1) if prompt_ids[at] in marks), None)
    return last if last is not None and prompt_ids[last] == marks[0] else None


@dataclass(frozen=True, slots=True)
class Piece:
    """Some text of one channel, perhaps none. The last piece of a tool call carries the call.

    Attributes:
        call: a call that is whole now.
        malformed: what was written as a call and is none.
        more_calls: further calls that stood between the same marks.
    """

    channel: Channel
    text: str
    call: ToolCall | None = None
    malformed: MalformedCall | None = None
    more_calls: tuple[ToolCall, ...] = ()

    def split(self) -> Iterator["Piece"]:
        """Pieces with one call at most, in order."""
        if not self.more_calls:
            yield self
            return
        yield replace(self, malformed=None, more_calls=())
        for call in self.more_calls:
            yield Piece("tool", "", call)
        if self.malformed is not None:
            yield Piece("tool", "", malformed=self.malformed)


class ReplyParser:
    """Feed it ids one by one; it gives back text once its characters are whole and no stop string can be in them."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        prompt_ids: Sequence[int],
        hidden_ids: Sequence[int],
        stop: Sequence[str] = (),
        tools: Sequence[Tool] = (),
    ) -> None:
        """`prompt_ids` tell whether the reply begins inside a thought; `hidden_ids` (end of turn) are never shown;
        `stop` strings end the answer and are not part of it; `tools` are the declared ones."""
        self._tokenizer, self._tools = tokenizer, tools
        self._tool_names = frozenset(tool.name for tool in tools)
        self._start, self._end = tokenizer.id(CHANNEL_START), tokenizer.id(CHANNEL_END)
        marks = (CALL_START, CALL_END, RESPONSE_START, QUOTE)
        self._call_start, self._call_end, self._response, self._quote = (tokenizer.id(mark) for mark in marks)
        self._control = frozenset(tokenizer.control_ids.values())
        self._hidden = frozenset(hidden_ids)
        self._decoder = tokenizer.decoder()
        self._stops = StopStrings(stop)
        self._channel: Channel = "answer" if open_thought(tokenizer, prompt_ids) is None else "thought"
        self._label: ChannelLabel | None = None
        self._call: CallReader | None = None
        self._unmarked = False  # whether the call that is being read lost its first mark
        self._n_calls = 0
        self._awaits_response = False
        self._held: str | None = None
        self._place: Literal["answer", "line"] = "answer"
        self._watch("answer")

    @property
    def stopped(self) -> bool:
        """Whether the reply is over: a stop string was found, the model waits for a tool's response, or only calls."""
        return self._stops.found or self._awaits_response or self._n_calls > MAX_CALLS

    def feed(self, id: int) -> Piece:
        """The text that can be shown now, or the call that is whole now, or what was meant as one."""
        if self._call is not None:
            return self._feed_call(self._call, id)
        if id == self._response or id in self._hidden:
            self._awaits_response = id == self._response
            return self._flush()
        if id == self._call_start:
            piece = self._flush_before_mark()
            self._call, self._unmarked = CallReader(self._tools), False
            return piece
        if id in (self._start, self._end):
            return self._change_channel(id)
        if id in self._control:
            return self._text(self._decoder.finish())
        return self._text(self._decoder.feed(id))

    def finish(self) -> Piece:
        """What was held back: the rest of a broken character, the beginning of a stop string, a call without its mark.

        Raises GemmaError inside a tool call.
        """
        if self._call is None:
            return self._flush()
        piece = self._end_call(self._call, closed=False)
        if piece.malformed is not None and piece.call is None:
            begun = shortened(piece.malformed.text)
            raise GemmaError(
                f"the reply ended inside a tool call, which was not run: {begun!r}; raise max_tokens or ask again",
                arguments=["max_tokens"],
            )
        return self._joined(piece, self._flush())

    def _text(self, text: str) -> Piece:
        """Text of the channel. How an answer and its lines begin is held back while it may be a call, or a thought."""
        shown = ""
        while True:
            if self._held is None:
                line, newline, text = text.partition("\n")
                shown += line + newline
                if not newline:
                    return Piece(self._channel, self._show(shown))
                self._watch("line")
                continue
            self._held += text
            kind = beginning(self._held, self._tool_names, may_think=self._place == "answer")
            if kind != "text":
                if kind == "call":
                    self._call, self._unmarked = CallReader(self._tools), True
                    self._call.text(self._held)
                    self._held = None
                return Piece(self._channel, self._show(shown))
            text, self._held = self._held, None

    def _change_channel(self, mark: int) -> Piece:
        piece = self._flush_before_mark()
        if mark == self._start:
            self._channel, self._label, self._held = "thought", ChannelLabel(), None
        else:
            self._channel, self._label = "answer", None
            self._watch("answer")
        return piece

    def _watch(self, place: Literal["answer", "line"]) -> None:
        """Here, where the answer or a line of it begins, a call may come without its first mark, or a thought."""
        watches = self._channel == "answer" and (place == "answer" or bool(self._tool_names))
        self._held, self._place = "" if watches else None, place

    def _feed_call(self, call: CallReader, id: int) -> Piece:
        ends = id in self._hidden or id in (self._call_start, self._response)
        if id == self._call_end:
            return self._end_call(call, closed=True)
        stray = id in self._control and id != self._quote and not call.in_string
        if ends or (stray and self._unmarked):
            return self._joined(self._end_call(call, closed=False), self.feed(id))
        if id == self._quote:
            text = self._decoder.finish()
            call.text(text)
            call.quote()
            return self._tool_text(text + QUOTE)
        if stray:
            call.spoil("a control token stands between values")
        text = self._decoder.feed(id)
        call.text(text)
        return self._tool_text(text)

    def _tool_text(self, text: str) -> Piece:
        return Piece("tool", "" if self._unmarked else text)

    def _end_call(self, call: CallReader, *, closed: bool) -> Piece:
        """The calls, or what was meant as one.

        What has no mark at all is a call only where the answer begins with the word for it, and text if it is none.
        """
        rest = self._decoder.finish()
        call.text(rest)
        self._call = None
        text = call.written if self._unmarked else rest
        has_marks = not self._unmarked or closed or call.has_quotes
        says_call = self._place == "answer" and text.lstrip().startswith(CALL_BEGINNINGS)
        try:
            calls = call.finish(closed=closed) if has_marks or says_call else []
            problem = None
        except GemmaError as error:
            calls, problem = [], error
        if self._unmarked and any(found.name not in self._tool_names for found in calls):
            calls = []
        if not calls and not has_marks:
            return Piece(self._channel, self._show(text))
        self._watch("answer")
        if problem is not None:
            return Piece("tool", text, malformed=self._counted(call.malformed(str(problem))))
        return self._limited(text, calls, call)

    def _limited(self, text: str, calls: Sequence[ToolCall], call: CallReader) -> Piece:
        """A piece with as many calls as a reply may hold; what is above it is told."""
        left = max(0, MAX_CALLS - self._n_calls)
        self._n_calls += len(calls)
        above = f"a reply may hold {MAX_CALLS} calls; what came after them was not read"
        malformed = call.malformed(above) if len(calls) > left else None
        read = calls[:left]
        return Piece("tool", text, read[0] if read else None, malformed, tuple(read[1:]))

    def _counted(self, malformed: MalformedCall) -> MalformedCall:
        self._n_calls += 1
        return malformed

    def _joined(self, first: Piece, then: Piece) -> Piece:
        """A piece of a call and what the token after it brought: more text of the answer, or none."""
        return replace(first, text=first.text + then.text)

    def _flush_before_mark(self) -> Piece:
        """What a mark ends: an answer that begins as a thought does, and goes no further, is one without its mark."""
        if self._held is None or self._place != "answer" or not is_lost_thought(self._held):
            return self._flush()
        label, held = ChannelLabel(), self._held + self._decoder.finish()
        self._held = None
        return Piece("thought", label.feed(held) + label.finish())

    def _flush(self) -> Piece:
        text, self._held = (self._held or "") + self._decoder.finish(), None
        text = self._show(text)
        if self._label is not None:
            text += self._label.finish()
        self._decoder = self._tokenizer.decoder()
        return Piece(self._channel, text + self._stops.finish())

    def _show(self, text: str) -> str:
        """Takes a channel's label off; looks for stop strings in answers."""
        if self._label is not None:
            text = self._label.feed(text)
        return self._stops.feed(text) if self._channel == "answer" else text
