"""A thought that may have only so many tokens: then its line and the thought are ended, and the answer follows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gemma4_mlx.engine.guide import Bits, look_ahead, token_set
from gemma4_mlx.prompt.reply import CHANNEL_END, CHANNEL_START, open_thought
from gemma4_mlx.prompt.tokenizer import Tokenizer

HEADER = "thought\n"
"""What the model writes behind the mark that opens a thought; it does not count."""


@dataclass(frozen=True, slots=True)
class _State:
    """Tokens since the mark that opened a thought (None outside of one), tokens of thought in all, the last token."""

    since_mark: int | None = None
    used: int = 0
    last: int = -1


class ThinkingBudget:
    """A `Guide` of one reply, which allows anything but more thought than the budget."""

    def __init__(self, budget: int, tokenizer: Tokenizer, vocab_size: int, prompt_ids: Sequence[int]) -> None:
        """`prompt_ids` tell whether the reply begins inside a thought. `vocab_size` is the width of the logits."""
        self._budget, self._tokenizer = budget, tokenizer
        self._start, self._end = tokenizer.id(CHANNEL_START), tokenizer.id(CHANNEL_END)
        self._header = len(tokenizer.encode(HEADER))
        self._closing = token_set(vocab_size, [self._end])
        self._line_end = token_set(vocab_size, tokenizer.encode("\n"))
        self._state = _State()
        begins = open_thought(tokenizer, prompt_ids)
        for token in () if begins is None else prompt_ids[begins:]:
            self.accept(token)

    def allowed(self) -> Bits | None:
        """None while the budget lasts."""
        state = self._state
        if state.since_mark is None or state.since_mark < self._header or state.used < self._budget:
            return None
        return self._closing if self._tokenizer.ends_line(state.last) else self._line_end

    def ahead(self, tokens: Sequence[int]) -> list[Bits | None]:
        """What may follow each token, up to the first that is not allowed."""
        state = self._state

        def move(token: int) -> Bits | None:
            self.accept(token)
            return self.allowed()

        found = look_ahead(tokens, move)
        self._state = state
        return found

    def accept(self, token: int) -> None:
        """Moves on by a token."""
        state = self._state
        if token == self._start:
            self._state = replace(state, since_mark=0, last=token)
        elif token == self._end or state.since_mark is None:
            self._state = replace(state, since_mark=None)
        else:
            used = state.used + (state.since_mark >= self._header)
            self._state = _State(state.since_mark + 1, used, token)
