"""Which tokens may come next, so that the answer is a text of a grammar. Thoughts before it are free.

A reply is, in this order: a thought or none, tool calls or none, and, where nothing was called, the answer. In the
answer only tokens are allowed from which a text of the grammar can still be reached; it can end only as one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from gemma4_mlx.engine.guide import Bits, look_ahead, token_set
from gemma4_mlx.engine.vocabulary import Vocabulary
from gemma4_mlx.errors import GemmaError, shortened
from gemma4_mlx.prompt.calls import QUOTE
from gemma4_mlx.prompt.reply import CALL_END, CALL_START, CHANNEL_END, CHANNEL_START, RESPONSE_START, open_thought

TURN_START = "<|turn>"


@dataclass(frozen=True, slots=True)
class _State:
    """Where in a reply we are."""

    phase: Literal["start", "thought", "call", "called", "answer", "over"]
    may_think: bool


class Constraint:
    """One reply's allowed tokens. `ahead` looks at tokens that may still be taken back; `accept` moves on."""

    def __init__(self, grammar: str, words: Vocabulary, prompt_ids: Sequence[int], *, may_call: bool = False) -> None:
        """`prompt_ids` tell whether the reply begins inside a thought or behind one; `may_call` allows tool calls.

        Raises GemmaError where the grammar can't be used with this vocabulary.
        """
        from llguidance import LLMatcher

        from gemma4_mlx.engine.schema_probe import limits

        self._words, self._may_call = words, may_call
        marks = (CHANNEL_START, CHANNEL_END, CALL_START, CALL_END, RESPONSE_START, QUOTE, TURN_START)
        self._think, self._thought, self._call, called, response, quote, self._turn = map(words.tokenizer.id, marks)
        self._called = called
        self._fixed = {
            "thought": words.text | token_set(words.size, [self._thought]),
            "call": words.text | token_set(words.size, [called, quote]),
            "called": token_set(words.size, [self._call, response]),
            "over": words.text_and_ends,
        }
        self._state = self._first(prompt_ids)
        self._matcher = LLMatcher(words.compiled, grammar, log_level=0, limits=limits())
        self._check()

    @property
    def finished(self) -> bool:
        """Whether the reply can end here: the answer is complete, or tools were called."""
        if self._state.phase == "answer":
            return self._matcher.is_accepting()
        return self._state.phase in ("called", "over")

    def allowed(self) -> Bits:
        """The tokens that may come next. Raises GemmaError where the grammar became too complex to follow."""
        phase = self._state.phase
        if phase in self._fixed:
            return self._fixed[phase]
        found = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)[: self._words.text.size]
        self._check()
        found = found & self._words.text_and_ends
        if phase == "start":
            found |= token_set(self._words.size, [self._think] * self._state.may_think + [self._call] * self._may_call)
        if not found.any():
            raise GemmaError("the model has no token with which the answer could go on; change the JSON schema")
        return found

    def ahead(self, tokens: Sequence[int]) -> list[Bits | None]:
        """What may follow each token, up to the first that is not allowed."""
        state, consumed = self._state, 0

        def move(token: int) -> Bits:
            nonlocal consumed
            consumed += self._move(token)
            return self.allowed()

        found = look_ahead(tokens, move)
        if consumed:
            self._matcher.rollback(consumed)
        self._state = state
        return found

    def accept(self, token: int) -> None:
        """Moves on by a token that was chosen."""
        self._move(token)

    def _move(self, token: int) -> bool:
        """Whether the grammar took the token."""
        phase, may_think = self._state.phase, self._state.may_think
        if phase == "start" and may_think and token == self._think:
            self._state = _State("thought", may_think=False)
        elif phase == "thought":
            self._state = _State("start" if token == self._thought else "thought", may_think=False)
        elif phase in ("start", "called") and token == self._call:
            self._state = _State("call", may_think=False)
        elif phase == "call":
            self._state = _State("called" if token == self._called else "call", may_think=False)
        elif phase in ("called", "over") or (token in self._words.end_ids and self._matcher.is_accepting()):
            self._state = _State("over", may_think=False)  # the grammar can't roll an end back: it never sees one
        else:
            self._state = _State("answer", may_think=False)
            self._matcher.consume_token(token)
            self._check()
            return True
        return False

    def _first(self, prompt_ids: Sequence[int]) -> _State:
        """A thought that the prompt opened goes on; behind one that it closed there is no other."""
        if open_thought(self._words.tokenizer, prompt_ids) is not None:
            return _State("thought", may_think=False)
        last = next((id for id in reversed(prompt_ids) if id in (self._thought, self._turn)), self._turn)
        return _State("start", may_think=last == self._turn)

    def _check(self) -> None:
        if self._matcher.is_error():
            said = shortened(self._matcher.get_error())
            raise GemmaError(f"the answer can't be kept to the JSON schema: {said}; make the schema simpler")
