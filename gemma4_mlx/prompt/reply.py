"""Token ids of a reply -> pieces of text, thought and answer apart, as they stream.

A thought is `<|channel>thought\\n...<channel|>`. Channels are told by token ids, so text that only looks like a mark
never opens one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gemma4_mlx.prompt.stops import StopStrings
from gemma4_mlx.prompt.tokenizer import Tokenizer

Channel = Literal["answer", "thought"]

CHANNEL_START, CHANNEL_END = "<|channel>", "<channel|>"


@dataclass(frozen=True, slots=True)
class Piece:
    """Some text of one channel, perhaps none."""

    channel: Channel
    text: str


class ReplyParser:
    """Feed it ids one by one; it gives back text once its characters are whole and no stop string can be in them."""

    def __init__(
        self, tokenizer: Tokenizer, prompt_ids: Sequence[int], hidden_ids: Sequence[int], stop: Sequence[str] = ()
    ) -> None:
        """`prompt_ids` tell whether the reply begins inside a thought; `hidden_ids` (end of turn) are never shown;
        `stop` strings end the answer and are not part of it."""
        self._tokenizer = tokenizer
        self._start, self._end = tokenizer.id(CHANNEL_START), tokenizer.id(CHANNEL_END)
        self._hidden = frozenset(hidden_ids)
        self._decoder = tokenizer.decoder()
        self._stops = StopStrings(stop)
        last_mark = next((id for id in reversed(prompt_ids) if id in (self._start, self._end)), self._end)
        self._channel: Channel = "thought" if last_mark == self._start else "answer"
        self._header: str | None = None

    @property
    def stopped(self) -> bool:
        """Whether a stop string was found. What follows it is not shown."""
        return self._stops.found

    def feed(self, id: int) -> Piece:
        """The text that can be shown now."""
        if id in self._hidden:
            return self.finish()
        if id == self._start:
            piece = self.finish()
            self._channel, self._header = "thought", ""
            return piece
        if id == self._end:
            piece = self.finish()
            self._channel, self._header = "answer", None
            return piece
        return Piece(self._channel, self._show(self._decoder.feed(id)))

    def finish(self) -> Piece:
        """What was held back: the rest of a broken character, or the beginning of a stop string."""
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
