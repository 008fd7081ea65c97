"""A conversation whose caches outlive the reply: what two prompts have in common is read once.

The next prompt seldom goes on where the last reply ended. Without thinking the template puts an empty thought before
the reply that it leaves out of the history, and thoughts never become history: the two part where the model's turn
begins. Full layers can be cut there. Sliding layers have lost the rows of that position's window by then; a copy of
them, taken while the prompt is read, brings them back. Another one, where the turn before begins, is for a question
that is asked again in other words.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import mlx.core as mx

from gemma4_mlx.device_errors import named_error
from gemma4_mlx.engine.prefill import read_hidden
from gemma4_mlx.errors import GemmaError, check_argument, is_whole
from gemma4_mlx.model.cache import ROLLBACK, Cache, SlidingCache, cache_arrays
from gemma4_mlx.model.unified import Gemma4Unified
from gemma4_mlx.prompt.prompt import Place, Prompt, whole_runs

Progress = Callable[[int, int], None]

IN_USE = (
    "the session is in use by another reply: read that one to its end or close() it first, "
    "or give each of them a Session of its own"
)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the sliding layers held of a position's window: its rows as they were kept, for each layer."""

    position: int
    windows: list[list[mx.array]]


class Session:
    """Caches, what they hold, and a few snapshots. It serves one model, and one reply at a time.

    Attributes:
        kv_bits, kv_group_size: how rows are kept, see `Gemma4Unified.make_caches`.
        longest: caches grow ahead of need up to so many positions; 0 for never.
        keep: how many snapshots are kept; each has the size of the sliding layers' windows.
        caches: one for each layer; empty before the first prompt.
        ids, places: tokens that were read or written, and the media among them. The caches may lack the last token.
        snapshots: of the beginnings of the last turns, in order.
        reused: positions of the last prompt that were not read again.
    """

    def __init__(
        self,
        model: Gemma4Unified,
        kv_bits: int | None = None,
        kv_group_size: int = 64,
        longest: int | None = None,
        keep: int = 2,
    ) -> None:
        """Raises UsageError for what is of another kind, or out of range."""
        check_argument("model", type(model).__name__, isinstance(model, Gemma4Unified), "a model that load() gave")
        plain_or_packed = kv_bits is None or (is_whole(kv_bits, 4, 8) and kv_bits in (4, 8))
        check_argument("kv_bits", kv_bits, plain_or_packed, "None, 8 or 4")
        grouped = is_whole(kv_group_size, 32, 128) and kv_group_size in (32, 64, 128)
        check_argument("kv_group_size", kv_group_size, grouped, "32, 64 or 128")
        check_argument("longest", longest, longest is None or is_whole(longest, 0), "None, or from 0 up")
        check_argument("keep", keep, is_whole(keep, 0, 16), "from 0 to 16")
        self.model, self.kv_bits, self.kv_group_size, self.keep = model, kv_bits, kv_group_size, keep
        self.longest = model.config.text.max_position_embeddings if longest is None else longest
        self.reused = 0
        self._user: dict[str, object] = {}
        self._forget()

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep the session for one reply, in whatever thread. Raises GemmaError if another one has not ended.

        It is free again however the reply ends: read to the end, closed, dropped, or broken off by an error or Ctrl-C.
        """
        own = object()
        try:
            if self._user.setdefault("reply", own) is not own:  # atomic: of two threads one comes first
                raise GemmaError(IN_USE)
            yield
        finally:
            if self._user.get("reply") is own:
                del self._user["reply"]

    @property
    def held(self) -> int:
        """Positions that the caches hold and whose tokens are known."""
        return min([len(self.ids), *(cache.offset for cache in self.caches)])

    @property
    def nbytes(self) -> int:
        """Memory of the caches and the snapshots."""
        windows = [part for snapshot in self.snapshots for window in snapshot.windows for part in window]
        return sum(array.nbytes for array in [*cache_arrays(self.caches), *windows])

    def clear(self) -> None:
        """Forgets everything and frees its memory. Raises GemmaError if a reply has not ended."""
        with self.in_use():
            self._forget()

    def _forget(self) -> None:
        self.max_length = 0
        self.caches: list[Cache] = []
        self.ids: list[int] = []
        self.places: list[Place] = []
        self.snapshots: list[Snapshot] = []
        self._whole = True
        mx.clear_cache()

    def read(self, prompt: Prompt, max_length: int, chunk: int, progress: Progress | None = None) -> mx.array:
        """Reads what of the prompt is not held yet; returns logits `(1, vocab)` of its last position.

        `max_length` is the number of positions that prompt and reply may take, `chunk` the number read at once.
        `progress(done, total)` is called as by `prefill`.
        """
        return self.model.logits(self.read_hidden(prompt, max_length, chunk, progress))[:, 0]

    def read_hidden(self, prompt: Prompt, max_length: int, chunk: int, progress: Progress | None = None) -> mx.array:
        """The same, but returns the hidden state `(1, 1, hidden)`."""
        places = [span.place() for span in prompt.spans]
        self.go_back(min(common_prefix(self.ids, self.places, prompt.ids, places), self.held))
        self.reused = len(self.ids)
        self._whole = False
        self.make_room(max_length)
        hidden = self._read(prompt, chunk, progress)
        self._whole = True
        self.ids, self.places = list(prompt.ids), places
        return hidden

    def follow(self, tokens: Iterable[int]) -> Iterator[int]:
        """Hands on the tokens of a reply as they are decoded, and takes note of them."""
        self._whole = False
        for token in tokens:
            self.ids.append(token)
            self._whole = True
            yield token
            self._whole = False
        self._whole = True

    def go_back(self, position: int) -> None:
        """Forgets what follows a position; more than that where its window is gone and no snapshot of it is there.

        After an error in the middle of a pass only snapshots are trusted: they lie before all that was written since.
        """
        self.snapshots = [snapshot for snapshot in self.snapshots if snapshot.position <= position]
        sliding, whole, self._whole = self._sliding(), self._whole, False
        if not (whole and all(cache.can_roll_back(cache.offset - position) for cache in sliding)):
            if not (self.snapshots and self._is_computed()):
                self._forget()
                return
            position = self.snapshots[-1].position
            for emptied, window in zip(sliding, self.snapshots[-1].windows, strict=True):
                emptied.restore(window, position)
            mx.eval(cache_arrays(self.caches))
        for cache in self.caches:
            cache.rollback(cache.offset - position)
        self.ids, self.places = self.ids[:position], [place for place in self.places if place.stop <= position]
        self._whole = True

    def _is_computed(self) -> bool:
        """Whether the caches hold numbers: what a pass left lazy that was broken off in another thread never will."""
        try:
            mx.eval(cache_arrays(self.caches))
        except RuntimeError as error:
            if named_error(error) is not None:
                raise
            return False
        return True

    def room(self, max_length: int) -> int:
        """Positions that there will be room for once so many are asked for: caches grow by half at least."""
        if max_length <= self.max_length:
            return self.max_length
        return max(max_length, min(self.max_length * 3 // 2, self.longest))

    def make_room(self, max_length: int) -> None:
        """Sees to it that so many positions fit. Caches grow one after another: no more than one is held twice."""
        room = self.room(max_length)
        if not self.caches:
            self.caches = self.model.make_caches(room, self.kv_bits, self.kv_group_size)
        elif room > self.max_length:
            for cache in self.caches:
                cache.grow(room)
                mx.eval(cache.arrays())
                mx.clear_cache()
        self.max_length = room

    def _read(self, prompt: Prompt, chunk: int, progress: Progress | None) -> mx.array:
        """Reads and takes snapshots on the way: by a stop there, unless a rollback can still reach it from the end."""
        total = len(prompt.ids)
        turns = ([turn for turn in prompt.turns if turn > 0] or [total - 1])[-self.keep :] if self.keep else []
        for turn in turns:
            if turn > self.caches[0].offset and total - turn > ROLLBACK:
                before = Prompt(prompt.ids[:turn], [span for span in prompt.spans if span.stop <= turn])
                read_hidden(self.model, before, self.caches, chunk, _out_of(total, progress))
            self._take_snapshot(turn)
        hidden = read_hidden(self.model, prompt, self.caches, chunk, progress)
        for turn in turns:
            self._take_snapshot(turn)
        mx.eval(hidden, cache_arrays(self.caches))
        return hidden

    def _take_snapshot(self, position: int) -> None:
        """Copies the windows of the sliding layers at a position behind the other snapshots, where they are there."""
        sliding, offset = self._sliding(), self.caches[0].offset
        known = self.snapshots[-1].position if self.snapshots else 0
        if not known < position <= offset or not all(cache.can_roll_back(offset - position) for cache in sliding):
            return
        self.snapshots = self.snapshots[max(0, len(self.snapshots) - self.keep + 1) :]
        windows = [[mx.contiguous(part) for part in cache.window(offset - position)] for cache in sliding]
        mx.eval(windows, cache_arrays(self.caches))
        self.snapshots.append(Snapshot(position, windows))

    def _sliding(self) -> list[SlidingCache]:
        return [cache for cache in self.caches if isinstance(cache, SlidingCache)]


def _out_of(total: int, progress: Progress | None) -> Progress | None:
    """Reports progress out of more positions than the part that is read has."""
    return None if progress is None else lambda done, _: progress(done, total)


def common_prefix(
    ids: Sequence[int], places: Sequence[Place], new_ids: Sequence[int], new_places: Sequence[Place]
) -> int:
    """How many positions two prompts share; always less than the second has, as its last one must be read.

    Media count by what is in them. What is read as a whole is shared as a whole, in both.
    """
    differences = (index for index, (a, b) in enumerate(zip(ids, new_ids, strict=False)) if a != b)
    length = min(len(ids), len(new_ids) - 1)
    length = min([next(differences, length), length, *(place.start for place in set(places) ^ set(new_places))])
    for first, last in sorted(whole_runs(places) + whole_runs(new_places), reverse=True):
        if first < length < last:
            length = first
    return length
