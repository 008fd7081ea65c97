"""Reading a chunk takes the memory of one layer, however many there are."""

import mlx.core as mx
import pytest

from benchmarks.shapes import tiny_config
from gemma4_mlx.config import ModelConfig
from gemma4_mlx.engine.prefill import prefill
from gemma4_mlx.model.cache import cache_arrays
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
