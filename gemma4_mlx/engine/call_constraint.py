"""Which tokens may come next inside tool calls, so that each is a call of a declared tool. The rest of a reply is free.

A reply without a call is never masked. After a call only another one, or the end of the reply, may come.
"""

from collections.abc import Collection, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from gemma4_mlx.engine.call_grammar import CallMarks, call_grammar
from gemma4_mlx.engine.guide import Bits, look_ahead, token_set
from gemma4_mlx.engine.vocabulary import Vocabulary
from gemma4_mlx.errors import note, one_line, shortened
from gemma4_mlx.prompt.calls import QUOTE
from gemma4_mlx.prompt.reply import CALL_END, CALL_START, RESPONSE_START
from gemma4_mlx.prompt.tokenizer import Tokenizer
from gemma4_mlx.prompt.tools import Tool

if TYPE_CHECKING:
    from llguidance import LLMatcher


@dataclass(frozen=True, slots=True)
class CallMatcher:
    """The compiled grammar of calls, which follows one reply, and all tokens that can stand in a call."""

    matcher: "LLMatcher"
    tokens: Bits


def call_marks(tokenizer: Tokenizer) -> CallMarks | None:
    """The control tokens of calls; None if the vocabulary lacks one of them."""
    start, end, quote = (tokenizer.control_ids.get(mark) for mark in (CALL_START, CALL_END, QUOTE))
    return None if start is None or end is None or quote is None else CallMarks(start, end, quote)


def build_call_matcher(tools: Sequence[Tool], marks: CallMarks, words: Vocabulary) -> CallMatcher:
    """Compile the grammar of the tools' calls: milliseconds, whatever their schemas are."""
    from llguidance import LLMatcher

    from gemma4_mlx.engine.schema_probe import limits

    matcher = LLMatcher(words.compiled, call_grammar(tools, marks), log_level=0, limits=limits())
    return CallMatcher(matcher, words.text | token_set(words.size, [marks.quote, marks.end]))


class CallConstraint:
    """A `Guide` of one reply. What is built in the background is waited for when the first call begins.

    If the grammar can't be built, or becomes too complex to follow, the rest of the reply is free, with a note.
    """

    def __init__(
        self,
        marks: CallMarks,
        tokenizer: Tokenizer,
        vocab_size: int,
        eos_ids: Collection[int],
        building: "Future[CallMatcher]",
    ) -> None:
        """`vocab_size` is the width of the logits; `eos_ids` end the reply."""
        response = tokenizer.control_ids.get(RESPONSE_START, marks.start)
        self._after_call = token_set(vocab_size, {marks.start, response, *eos_ids})
        self._marks, self._building = marks, building
        self._phase: Literal["free", "call", "called"] = "free"
        self._usable = True

    def allowed(self) -> Bits | None:
        """The tokens that may come next; None outside of calls."""
        if self._phase == "called":
            return self._after_call
        if self._phase == "free" or not self._is_built():
            return None
        calls = self._building.result()
        found = np.frombuffer(calls.matcher.compute_bitmask(), np.uint8)[: calls.tokens.size] & calls.tokens
        return found if self._holds(calls.matcher) and found.any() else None

    def ahead(self, tokens: Sequence[int]) -> list[Bits | None]:
        """What may follow each token, up to the first that is not allowed."""
        phase, consumed = self._phase, 0

        def move(token: int) -> Bits | None:
            nonlocal consumed
            consumed += self._move(token)
            return self.allowed()

        found = look_ahead(tokens, move)
        if consumed and self._usable:
            self._building.result().matcher.rollback(consumed)
        self._phase = phase
        return found

    def accept(self, token: int) -> None:
        """Move on by a token that was chosen."""
        self._move(token)

    def _move(self, token: int) -> bool:
        """Whether the grammar took the token."""
        if self._phase != "call" and token != self._marks.start:
            self._phase = "free"
            return False
        self._phase = "called" if token == self._marks.end else "call"
        if not self._is_built():
            return False
        matcher = self._building.result().matcher
        matcher.consume_token(token)
        return self._holds(matcher)

    def _is_built(self) -> bool:
        """Whether the grammar can be used, once it is built."""
        if self._usable and (error := self._building.exception()) is not None:
            self._give_up(one_line(error))
        return self._usable

    def _holds(self, matcher: "LLMatcher") -> bool:
        """Whether the grammar can be used on."""
        if matcher.is_error():
            self._give_up(matcher.get_error())
        return self._usable

    def _give_up(self, reason: str) -> None:
        self._usable = False
        note(f"the tool calls of this reply are not kept to their schemas: {shortened(reason)}")
