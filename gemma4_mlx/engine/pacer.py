"""How far to draft ahead: more after guesses that held, less after ones that did not, and not at all where it costs."""

import time
from collections.abc import Callable

LONGEST = 15
"""Most tokens guessed at once: with the token before them they can all be rolled back."""

SHORTEST_PAUSE, LONGEST_PAUSE = 32, 512
TRIALS = 3
"""Drafting passes before their speed counts."""

STEPS = 2
"""Steps without drafts before the first with: a process's first one may wait for kernels to be compiled."""

WEIGHT = 0.3
"""Weight of the newest pass in the running means."""

LOSS = 0.03
"""What drafting may cost at most, as a share of the time without: where it has lost more, it waits for that much time
to pass. One that gains has this many tokens' time to lose before, and so has a new reply:"""

MOST_CREDIT, FIRST_CREDIT = LONGEST + 1, 4


class Pacer:
    """Compares the measured time a token of passes with and without drafts, in the running reply.

    Attributes:
        passes, tokens: passes with drafts so far, and the tokens that they brought.
        drafted, accepted: tokens guessed, and guesses that held.
    """

    def __init__(self, fixed: int | None = None, clock: Callable[[], float] = time.perf_counter) -> None:
        """With `fixed`, that many tokens are always drafted."""
        self._fixed, self._clock = fixed, clock
        self._length, self._trials, self._steps = 2, 0, 0
        self._rest, self._pause = 0, SHORTEST_PAUSE
        self._plain: float | None = None
        self._drafting: float | None = None
        self._credit: float = FIRST_CREDIT
        self._last = clock()
        self.passes = self.tokens = self.drafted = self.accepted = 0

    def length(self) -> int:
        """How many tokens to draft now."""
        if self._fixed is not None:
            return self._fixed
        waits = self._steps < STEPS or self._rest > 0 or self._credit < 0
        return 0 if waits else self._length

    def start(self) -> None:
        """Takes note of the first token: what came before it was the prompt's time."""
        self._lap()

    def plain(self) -> None:
        """Takes note of a step without drafts."""
        lap = self._lap()
        self._plain = min(_mean(self._plain, lap), 2 * lap)  # one slow step does not count for long
        self._steps += 1
        self._rest = max(0, self._rest - 1)
        self._credit = min(self._credit + LOSS, MOST_CREDIT)

    def pass_done(self, drafted: int, accepted: int) -> None:
        """Takes note of a pass that brought `accepted + 1` tokens."""
        self.passes, self.tokens = self.passes + 1, self.tokens + accepted + 1
        self.drafted, self.accepted = self.drafted + drafted, self.accepted + accepted
        lap = self._lap()
        self._drafting = _mean(self._drafting, lap / (accepted + 1))
        if self._plain:
            self._credit = min(self._credit + accepted + 1 - lap / self._plain, MOST_CREDIT)
        self._trials += 1
        self._length = min(2 * drafted, LONGEST) if accepted == drafted else max(accepted, 1)
        if self._trials < TRIALS:
            return
        if self._plain is not None and self._drafting > self._plain:
            # A later trial is a single pass: its own time decides whether to go on.
            self._rest, self._pause = self._pause, min(2 * self._pause, LONGEST_PAUSE)
            self._drafting, self._length = None, 2
        else:
            self._pause = SHORTEST_PAUSE

    def _lap(self) -> float:
        now = self._clock()
        elapsed, self._last = now - self._last, now
        return elapsed


def _mean(mean: float | None, value: float) -> float:
    return value if mean is None else mean + WEIGHT * (value - mean)
