"""Masks against the rule as it is written, one pair of positions at a time."""

import unittest.mock

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from reference import sliding

from gemma4_mlx.model.masks import sliding_mask, sliding_tiles


@st.composite
def layouts(draw: st.DrawFn) -> tuple[np.ndarray, int, int, list[tuple[int, int]]]:
    """Which positions are vision, the window, where the queries begin, and the blocks."""
    runs = draw(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 9)), min_size=1, max_size=4))
    vision: list[bool] = []
    blocks = []
    for text, image in runs:
        vision += [False] * text
        blocks.append((len(vision), len(vision) + image))
        vision += [True] * image
    vision += [False] * draw(st.integers(0, 4))
    starts = [0, *(stop for _, stop in blocks)]
    offset = draw(st.sampled_from([start for start in starts if start < len(vision)]))
    return np.array(vision), draw(st.integers(2, 12)), offset, blocks


@given(layouts(), st.data())
def test_tiles_are_the_rule_for_any_chunk(
    layout: tuple[np.ndarray, int, int, list[tuple[int, int]]], data: st.DataObject
) -> None:
    vision, window, offset, blocks = layout
    length = len(vision) - offset
    queries = data.draw(st.integers(1, length))
    expected = sliding(len(vision), window, tuple(vision))[offset:, max(0, offset - window + 1) :][length - queries :]

    with unittest.mock.patch("gemma4_mlx.model.masks.TILE", data.draw(st.integers(1, 9))):
        tiles = sliding_tiles(length, offset, window, blocks, queries)

    seen = np.zeros_like(expected)
    for tile in tiles:
        seen[tile.start : tile.stop, tile.first : tile.last] = True if tile.mask is None else np.array(tile.mask)
    np.testing.assert_array_equal(seen, expected)
    assert [tile.start for tile in tiles] == [0, *(tile.stop for tile in tiles[:-1])]
    assert tiles[-1].stop == queries


def test_a_tile_reads_no_key_outside_its_windows() -> None:
    tiles = sliding_tiles(2048, 5000, 1024, [], 2048)
    assert [(tile.first, tile.last) for tile in tiles[:2]] == [(0, 1279), (256, 1535)]
    assert sum((tile.stop - tile.start) * (tile.last - tile.first) for tile in tiles) == 2048 * 1279


def test_literal_mask() -> None:
    expected = [
        [1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0],
        [0, 1, 1, 1, 0],
        [0, 0, 1, 1, 1],
    ]
    mask = sliding_mask(0, 4, -1, 4, 3, [(1, 3)])
    np.testing.assert_array_equal(mask.astype(int), expected)


def test_one_token_needs_no_mask() -> None:
    (tile,) = sliding_tiles(1, 40, 16, [(2, 6)], 1)
    assert (tile.first, tile.last, tile.mask) == (0, 16, None)
