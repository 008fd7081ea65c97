"""Masks against the rule as it is written, one pair of positions at a time."""

import mlx.core as mx
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from reference import sliding

from gemma4_mlx.model.masks import make_masks, sliding_mask


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


@given(layouts())
def test_sliding_mask_is_the_rule_for_any_chunk(layout: tuple[np.ndarray, int, int, list[tuple[int, int]]]) -> None:
    vision, window, offset, blocks = layout
    length = len(vision)
    expected = sliding(length, window, vision)[offset:, max(0, offset - window + 1) :]

    mask = make_masks(length - offset, offset, window, blocks).sliding

    if mask is None:
        mask = np.ones((1, expected.shape[1]), bool)
    elif isinstance(mask, str):
        mask = np.tril(np.ones((length, length), bool))[offset:, max(0, offset - window + 1) :]
    np.testing.assert_array_equal(np.array(mask), expected)


def test_literal_mask() -> None:
    expected = [
        [1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0],
        [0, 1, 1, 1, 0],
        [0, 0, 1, 1, 1],
    ]
    mask = sliding_mask(4, 1, 3, [(1, 3)])
    np.testing.assert_array_equal(mask.astype(int), expected)


def test_full_layers_stay_causal_around_images() -> None:
    masks = make_masks(8, 0, 16, [(2, 6)])
    assert masks.full == "causal"
    assert isinstance(masks.sliding, mx.array)


def test_one_token_needs_no_mask() -> None:
    masks = make_masks(1, 40, 16, [(2, 6)])
    assert (masks.full, masks.sliding) == (None, None)
