"""Token ids of a reply -> pieces of text as they stream, thought, answer and tool calls apart.

A thought is `<|channel>thought\\n...<channel|>`, a call `<|tool_call>...<tool_call|>`. Both are told by token ids, so
text that only looks like a mark never opens one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gemma4_mlx.errors import GemmaError
from gemma4_mlx.prompt.calls import QUOTE, CallReader, ToolCall
from gemma4_mlx.prompt.stops import StopStrings
from gemma4_mlx.prompt.tokenizer import Tokenizer

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
    """Some text of one channel, perhaps none. The last piece of a tool call carries the call."""

    channel: Channel
    text: str
    call: ToolCall | None = None


class ReplyParser:
    """Feed it ids one by one; it gives back text once its characters are whole and no stop string can be in them."""

    def __init__(
        self, tokenizer: Tokenizer, prompt_ids: Sequence[int], hidden_ids: Sequence[int], stop: Sequence[str] = ()
    ) -> None:
        """`prompt_ids` tell whether the reply begins inside a thought; `hidden_ids` (end of turn) are never shown;
        `stop` strings end the answer and are not part of it."""
        self._tokenizer = tokenizer
        self._start, self._end = tokenizer.id(CHANNEL_START), tokenizer.id(CHANNEL_END)
        marks = (CALL_START, CALL_END, RESPONSE_START, QUOTE)
        self._call_start, self._call_end, self._response, self._quote = (tokenizer.id(mark) for mark in marks)
        self._control = frozenset(tokenizer.control_ids.values())
        self._hidden = frozenset(hidden_ids)
        self._decoder = tokenizer.decoder()
        self._stops = StopStrings(stop)
        self._channel: Channel = "answer" if open_thought(tokenizer, prompt_ids) is None else "thought"
        self._header: str | None = None
        self._call: CallReader | None = None
        self._awaits_response = False

    @property
    def stopped(self) -> bool:
        """Whether the reply is over: a stop string was found, or the model waits for a tool's response."""
        return self._stops.found or self._awaits_response

    def feed(self, id: int) -> Piece:
        """The text that can be shown now, or the call that is whole now. Raises GemmaError for a malformed call."""
        if self._call is not None:
            return self._feed_call(self._call, id)
        if id == self._response or id in self._hidden:
            self._awaits_response = id == self._response
            return self._flush()
        if id == self._call_start:
            self._call = CallReader()
            return self._flush()
        if id in (self._start, self._end):
            piece = self._flush()
            self._channel, self._header = ("thought", "") if id == self._start else ("answer", None)
            return piece
        return Piece(self._channel, self._show(self._decoder.feed(id)))

    def finish(self) -> Piece:
        """What was held back: the rest of a broken character, or the beginning of a stop string.

        Raises GemmaError inside a tool call.
        """
        if self._call is not None:
            raise GemmaError("the reply ended inside a tool call, which was not run; raise max_tokens or ask again")
        return self._flush()

    def _feed_call(self, call: CallReader, id: int) -> Piece:
        if id in self._hidden or id in (self._call_start, self._response):
            return self.finish()
        if id == self._call_end:
            call.text(self._decoder.finish())
            self._call = None
            return Piece("tool", "", call.finish())
        if id in self._control and id != self._quote and not call.in_string:
            raise GemmaError("the model's tool call is malformed: a control token stands between values; ask again")
        if id == self._quote:
            text = self._decoder.finish()
            call.text(text)
            call.quote()
            return Piece("tool", text + QUOTE)
        text = self._decoder.feed(id)
        call.text(text)
        return Piece("tool", text)

    def _flush(self) -> Piece:
        text = self._show(self._decoder.finish())
        self._decoder = self._tokenizer.decoder()
        return Piece(self._channel, text + self._stops.finish())

    def _show(self, text: str) -> str:
        """Drops a channel's name, which runs to the first newline; looks for stop strings in answers."""
        if self._header is not None:
            self._header += text
            _, newline, text = self._header.partition("\n")
            self._header = None if newline else self._header
        return self._stops.feed(text) if self._channel == "answer" else text
