"""What a pass costs, against counts made by hand, by loops, and on real modules."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlx.utils import tree_flatten

from gemma4_mlx.config import LayerConfig, RopeConfig
from gemma4_mlx.measure import costs
from gemma4_mlx.measure.shapes import make_config, published_config
from gemma4_mlx.model.unified import Gemma4Unified

SLIDING, FULL = published_config().text.layers[0], published_config().text.layers[5]
SMALL = make_config(
    layers="SF",
    hidden=16,
    mlp=24,
    heads=4,
    head_dim=8,
    kv_heads=2,
    full_head_dim=16,
    window=8,
    vocab=32,
    context=64,
)


def test_the_published_model_has_as_many_weights_as_published() -> None:
    config = published_config()
    assert [index for index, layer in enumerate(config.text.layers) if layer.window is None] == [*range(5, 48, 6)]
    assert costs.plain_weight_bytes(config, 16) == 2 * 11_906_580_480  # 11.96 B with the media projections
    assert costs.plain_weight_bytes(config, 4) == 11_906_580_480 * 4.5 / 8


@pytest.mark.parametrize("index", [0, 1])
def test_weights_of_a_layer_are_those_of_its_modules(index: int) -> None:
    layer = Gemma4Unified(SMALL).layers[index]
    matrices = sum(array.size for name, array in tree_flatten(layer.parameters()) if "proj" in name)
    assert costs.matrix_numbers(SMALL.text, SMALL.text.layers[index]) == matrices


def test_a_full_layer_reads_1024_numbers_a_position_and_plain_keys_again() -> None:
    assert costs.layer_cache_bytes(FULL, 1000, None) == 1000 * (1024 + 512) * 2
    assert costs.layer_cache_bytes(FULL, 1000, 8) == 1000 * 1024 * 8.5 / 8
    assert costs.layer_cache_bytes(FULL, 1000, 4) == 1000 * 1024 * 4.5 / 8


def test_a_sliding_layer_reads_no_more_than_its_window() -> None:
    assert costs.layer_cache_bytes(SLIDING, 1000, None) == 1000 * 8 * 2 * 256 * 2
    assert costs.layer_cache_bytes(SLIDING, 200_000, None) == 1024 * 8 * 2 * 256 * 2
    assert costs.layer_cache_bytes(SLIDING, 200_000, 8) == 1024 * 8 * 2 * 256 * 8.5 / 8
    assert costs.layer_cache_bytes(SLIDING, 200_000, 4) == 1024 * 8 * 2 * 256 * 8.5 / 8


@given(depth=st.integers(0, 40), tokens=st.integers(1, 40), window=st.none() | st.integers(1, 20))
def test_pairs_of_queries_and_keys(depth: int, tokens: int, window: int | None) -> None:
    layer = LayerConfig(8, 1, RopeConfig(1e4), window)
    pairs = sum(
        key <= query and (window is None or query - key < window)
        for query in range(depth, depth + tokens)
        for key in range(depth + tokens)
    )
    assert costs._pairs(layer, depth, tokens) == pairs


def test_a_token_costs_two_operations_a_weight_and_its_attention() -> None:
    step = costs.decoding_pass(SMALL, 20, weight_bytes=1000)
    attention = 4 * 4 * 8 * 8 + 6 * 4 * 16 * 20  # 4 x heads x width x keys, 6 with scores twice; the window has 8
    sliding, full = 16 * (32 + 16 + 16 + 32 + 3 * 24), 16 * (64 + 16 + 64 + 3 * 24)  # q, k(, v), o, MLP
    assert step.operations == 2 * (sliding + full + 32 * 16) + attention
    assert step.bytes == 1000 + 8 * 2 * 2 * 8 * 2 + 20 * 3 * 16 * 2
    assert costs.decoding_pass(SMALL, 20, 1000, tokens=3).operations == 3 * step.operations


def test_plain_keys_are_read_twice_while_a_token_is_written() -> None:
    """What that adds to the bytes of a token of the 12B in 4 bits."""
    config = published_config()
    weights = costs.plain_weight_bytes(config, 4)
    shares = []
    for context in (32_768, 262_144):
        step, again = costs.decoding_pass(config, context, weights).bytes, 8 * context * 512 * 2
        shares.append(again / (step - again))
    assert shares == pytest.approx([0.036, 0.19], abs=0.003)


def test_each_tile_of_a_chunk_reads_the_keys_again() -> None:
    config = published_config()
    (depth, chunk, row), window = (262_144 - 256, 512, 1536 * 2), 1024 * 8 * 2 * 256 * 2
    read = costs.reading_pass(config, depth, chunk, weight_bytes=1000).bytes
    assert (
        read == 1000 + 40 * window + (7 * 64 + 1) * 262_144 * row
    )  # 7 full layers in tiles of 8; the last has 1 query
    packed = costs.reading_pass(config, 0, chunk, 1000, kv_bits=8).operations
    plain = costs.reading_pass(config, 0, chunk, 1000).operations
    assert plain - packed == 2 * 16 * 512 * (7 * 512 * 513 // 2 + 512)


def test_time_is_the_longer_of_moving_and_computing() -> None:
    cost = costs.Pass(bytes=100, operations=1000)
    assert cost.seconds(bandwidth=10, speed=1000) == 10
    assert cost.seconds(bandwidth=1000, speed=10) == 100
    assert cost.seconds(bandwidth=10, speed=None) == 10
