"""Reading a chunk takes the memory of one layer, however many there are, and of one tile of its scores."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace

import mlx.core as mx
import pytest

from benchmarks.shapes import tiny_config
from gemma4_mlx.config import ModelConfig
from gemma4_mlx.engine.prefill import prefill
from gemma4_mlx.model import full_attention
from gemma4_mlx.model.attention import SlidingAttention
from gemma4_mlx.model.cache import SharedCache, cache_arrays
from gemma4_mlx.model.full_attention import tile_size
from gemma4_mlx.model.masks import TILE, sliding_tiles
from gemma4_mlx.model.rows import KVQuantization
from gemma4_mlx.model.unified import Gemma4Unified
from gemma4_mlx.prompt.prompt import Prompt

WIDE = {"num_attention_heads": 8, "num_key_value_heads": 8, "head_dim": 32, "sliding_window": 128}


def transient(layers: int) -> int:
    """Peak of two chunks, less what is there afterwards."""
    model = Gemma4Unified(ModelConfig.from_dict(tiny_config(num_hidden_layers=layers, **WIDE))).prepare()
    caches = model.make_caches(600)
    mx.clear_cache()
    mx.reset_peak_memory()
    mx.eval(prefill(model, Prompt([300] * 600), caches, 300), cache_arrays(caches))
    return mx.get_peak_memory() - mx.get_active_memory()


def test_transient_memory_does_not_grow_with_the_layers() -> None:
    assert transient(12) == pytest.approx(transient(6), rel=0.1)


HEADS, GROUP, WIDTH = 8, 2, 16


@pytest.fixture
def one_after_another() -> Iterator[None]:
    """A limit that lets MLX run ahead by nothing, as that of a reply does for a model of full size."""
    cache, limit = mx.set_cache_limit(0), mx.set_memory_limit(1)
    yield
    mx.set_cache_limit(cache)
    mx.set_memory_limit(limit)


def random_rows(heads: int, length: int, width: int = WIDTH) -> mx.array:
    return mx.random.normal((1, heads, length, width), key=mx.random.key(length + width)).astype(mx.bfloat16)


def peak(compute: Callable[[], mx.array]) -> int:
    mx.synchronize()
    before = mx.get_active_memory()
    mx.reset_peak_memory()
    mx.eval(compute())
    return mx.get_peak_memory() - before


@pytest.mark.parametrize("chunk", [512, 2048])
@pytest.mark.usefixtures("one_after_another")
def test_scores_of_one_tile_of_a_sliding_layer_are_alive_at_once(chunk: int) -> None:
    queries, rows = random_rows(HEADS, chunk), random_rows(HEADS // GROUP, 1023 + chunk)
    tiles = sliding_tiles(chunk, 4096, 1024, (), queries=chunk)
    mx.eval(queries, rows, [tile.mask for tile in tiles if tile.mask is not None])
    cache = SimpleNamespace(update=lambda written: written, keys_values=lambda _: (rows, rows))
    found = peak(lambda: SlidingAttention.attend(None, (queries, rows), cache, tiles))
    assert found - 2 * queries.nbytes == pytest.approx(8 * HEADS * TILE * (1023 + TILE), rel=0.1)


@pytest.mark.parametrize("bits", [None, 8])
@pytest.mark.usefixtures("one_after_another")
def test_a_score_of_a_full_layer_takes_8_bytes(bits: int | None) -> None:
    cache = SharedCache(2048, None if bits is None else KVQuantization(bits))
    cache.update(*(random_rows(1, 2048, 64) for _ in range(3)))
    queries = random_rows(HEADS, 32, 64)
    mx.eval(queries, cache.arrays())
    found = peak(lambda: full_attention.attend(queries, queries, cache))
    assert found == pytest.approx(8 * HEADS * 32 * 2048, rel=0.1)


@pytest.mark.parametrize(
    ("heads", "group", "keys", "queries"),
    [
        (16, 16, 8192, 256),
        (16, 16, 30_000, 68),
        (16, 16, 262_144, 8),  # 128 rows
        (16, 16, 500_000, 4),
        (16, 16, 3_000_000, 1),  # no room for a block
        (8, 2, 32_768, 128),
        (12, 3, 32_768, 64),  # 3 rows a query: 64 queries are whole blocks
    ],
)
def test_tiles_are_whole_blocks_of_64_rows(heads: int, group: int, keys: int, queries: int) -> None:
    assert tile_size(heads, group, keys) == queries
