"""A thought that may have only so many tokens: then its line and the thought are ended, and the answer follows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gemma4_mlx.engine.guide import Bits, contains, token_set
from gemma4_mlx.prompt.reply import CHANNEL_END, CHANNEL_START
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
        for token in _tail(prompt_ids, self._start):
            self.accept(token)

    def allowed(self) -> Bits | None:
        """None while the budget lasts."""
        return self._allowed(self._state)

    def ahead(self, tokens: Sequence[int]) -> list[Bits | None]:
        """What may follow each token, up to the first that is not allowed."""
        found: list[Bits | None] = []
        state = self._state
        for token in tokens:
            if found and not contains(found[-1], token):
                break
            state = self._after(state, token)
            found.append(self._allowed(state))
        return found

    def accept(self, token: int) -> None:
        """Moves on by a token."""
        self._state = self._after(self._state, token)

    def _allowed(self, state: _State) -> Bits | None:
        if state.since_mark is None or state.since_mark < self._header or state.used < self._budget:
            return None
        return self._closing if self._tokenizer.ends_line(state.last) else self._line_end

    def _after(self, state: _State, token: int) -> _State:
        if token == self._start:
            return replace(state, since_mark=0, last=token)
        if token == self._end or state.since_mark is None:
            return replace(state, since_mark=None)
        used = state.used + (state.since_mark >= self._header)
        return _State(state.since_mark + 1, used, token)


def _tail(ids: Sequence[int], mark: int) -> Sequence[int]:
    """The ids from the last mark on; none where there is none."""
    at = next((index for index in range(len(ids) - 1, -1, -1) if ids[index] == mark), len(ids))
    return ids[at:]
