"""Sound follows its file's clock: pauses are silence, jitter and overlaps are nothing."""

from collections.abc import Iterator

import numpy as np
import pytest

from gemma4_mlx.errors import GemmaError
from gemma4_mlx.media.sources import Source, read_source
from gemma4_mlx.media.timeline import Block, cut_padding, fill_pauses, start_at

RATE = 1000


def blocks(*starts: float | None, count: int = 500) -> Iterator[Block]:
    """Half a second of ones from each of `starts`."""
    return (Block(RATE, np.ones(count, np.float32), start) for start in starts)


def runs(sound: Iterator[Block]) -> list[tuple[int, int]]:
    """(value, how many samples) of the sound, joined."""
    samples = np.concatenate([block.samples for block in sound])
    edges = np.flatnonzero(np.diff(samples, prepend=np.nan))
    lengths = np.diff(np.append(edges, len(samples)))
    return [(int(samples[edge]), int(length)) for edge, length in zip(edges, lengths, strict=True)]


def filled(*starts: float | None) -> list[tuple[int, int]]:
    return runs(fill_pauses(blocks(*starts), "x.m4a", 100))


@pytest.mark.parametrize(
    ("starts", "wanted"),
    [
        ((0, 0.5, 1.0), [(1, 1500)]),
        ((7, 7.5, 8.0), [(1, 1500)]),  # the clock need not begin at zero
        ((0, 0.59, 1.0), [(1, 1500)]),  # jitter
        ((0, 0.3, 1.0), [(1, 1500)]),  # an overlap
        ((0, 2.5, 3.0), [(1, 500), (0, 2000), (1, 1000)]),
        ((0, 0.56, 1.12, 1.68), [(1, 1000), (0, 120), (1, 1000)]),  # small gaps add up
        ((-1, 0.5), [(1, 500), (0, 1000), (1, 500)]),
        ((0, None, 1.0, None), [(1, 2000)]),
        ((0, 50, 1.0, 1.5), [(1, 2000)]),  # one time stamp is damaged
        ((20, 20.5, 0, 21.5, 22.0), [(1, 2500)]),
        ((20, 20.5, 0, 0.5, 3.0), [(1, 2000), (0, 2000), (1, 500)]),  # the clock begins anew
    ],
)
def test_pauses(starts: tuple[float | None, ...], wanted: list[tuple[int, int]]) -> None:
    assert filled(*starts) == wanted


@pytest.mark.parametrize(
    ("sound", "line"),
    [
        (
            fill_pauses(blocks(0, 10**6), "x.m4a", 100),
            "x.m4a: a time stamp of its sound lies 1000000 s after the start, beyond the limit of 100 s; "
            "cut or convert it first",
        ),
        (
            start_at(blocks(10**6), 0.0, read_source(b"x"), 100),
            "bytes: a time stamp of its sound lies 1000000 s after the start, beyond the limit of 100 s; "
            "cut or convert it first",
        ),
        (
            fill_pauses(blocks(0, 0.5, 1), "x.m4a", 1.2),
            "x.m4a: the sound is longer than the limit of 1.2 s; cut it first",
        ),
    ],
    ids=["pause", "start", "length"],
)
def test_time_stamps_allocate_no_more_than_the_limit(sound: Iterator[Block], line: str) -> None:
    with pytest.raises(GemmaError) as caught:
        list(sound)
    assert str(caught.value) == line


def test_a_long_pause_comes_in_pieces() -> None:
    assert max(len(block.samples) for block in fill_pauses(blocks(0, 90), "x", 100)) == 10_000


@pytest.mark.parametrize(
    ("start", "origin", "wanted", "notes"),
    [
        (0.0, None, [(1, 1000)], []),
        (2.0, 0.0, [(0, 2000), (1, 1000)], []),
        (2.0, 2.05, [(1, 1000)], []),
        (2.0, 2.75, [(1, 250)], ["bytes: the first 0.8 s of its sound, before the first frame, are left out"]),
    ],
)
def test_start(start: float, origin: float | None, wanted: list[tuple[int, int]], notes: list[str]) -> None:
    source: Source = read_source(b"x")
    assert runs(start_at(blocks(start, start + 0.5), origin, source, 100)) == wanted
    assert source.notes == notes


def test_silence_before_the_first_frame_is_no_loss() -> None:
    source: Source = read_source(b"x")
    quiet = [Block(1000, np.zeros(500, np.float32), 2.0), Block(1000, np.ones(500, np.float32), 2.5)]
    assert runs(start_at(iter(quiet), 2.4, source, 100)) == [(0, 100), (1, 500)]
    assert source.notes == []
    assert runs(start_at(iter(quiet), 2.6, source, 100)) == [(1, 400)]
    assert source.notes == ["bytes: the first 0.6 s of its sound, before the first frame, are left out"]


def test_the_last_block_ends_where_the_file_says() -> None:
    assert runs(cut_padding(blocks(0, 0.5), 0.8)) == [(1, 800)]
    assert runs(cut_padding(blocks(0, 0.5), 0.4)) == [(1, 1000)]  # not the padding of one block
    assert runs(cut_padding(blocks(0, 0.5), None)) == [(1, 1000)]


def test_rates_keep_their_blocks() -> None:
    sound = [Block(1000, np.ones(500, np.float32), 0.0), Block(2000, np.ones(600, np.float32), 0.5)]
    assert [(b.rate, len(b.samples)) for b in cut_padding(iter(sound), 0.7)] == [(1000, 500), (2000, 400)]
