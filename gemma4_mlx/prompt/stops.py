"""Stop strings in a stream: text that may be the beginning of one is held back until it is known."""

from collections.abc import Sequence


class StopStrings:
    """Cuts a stream of text before the first stop string."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._held = ""
        self.found = False

    def feed(self, text: str) -> str:
        """What can be shown by now. After `found` nothing more can."""
        if self.found or not self._stops:
            return "" if self.found else text
        self._held += text
        cuts = [at for at in (self._held.find(stop) for stop in self._stops) if at >= 0]
        if cuts:
            self.found = True
            return self._take(min(cuts))
        return self._take(len(self._held) - max(_overlap(self._held, stop) for stop in self._stops))

    def finish(self) -> str:
        """The text still held back when the stream ends without a stop string."""
        return "" if self.found else self._take(len(self._held))

    def _take(self, length: int) -> str:
        shown, self._held = self._held[:length], self._held[length:]
        return shown


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that begins `stop`."""
    return next((size for size in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:size])), 0)
