"""Bytes of one engine's caches at the 12B's published shapes. They are filled with rows of nothing, never evaluated.

python -m benchmarks.cache_sizes ENGINE CONFIG_JSON POSITIONS [--kv-bits N]

Prints JSON. Rows come as a prompt in pieces of 2,048 and one token of reply, in bfloat16. --kv-bits of mlx-vlm are
those of its "turboquant" scheme, as its default scheme cannot quantize this model's sliding layers and stops there.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

PIECE = 2048


def ours(config: dict[str, Any], positions: int, kv_bits: int | None) -> int:
    """This package; rows have `kv_bits`."""
    from gemma4_mlx.config import ModelConfig
    from gemma4_mlx.measure.fill import cache_bytes

    return cache_bytes(ModelConfig.from_dict(config).text, positions, kv_bits)


def mlx_lm(config: dict[str, Any], positions: int, kv_bits: int | None) -> int:
    """mlx-lm, which cannot quantize caches of this model."""
    if kv_bits is not None:
        raise SystemExit("it cannot quantize this model's caches")
    from mlx_lm.models.gemma4 import Model, ModelArgs

    args = ModelArgs.from_dict(config | {"model_type": "gemma4", "vocab_size": 262144})
    return filled(Model(args).make_cache(), config["text_config"], positions)


def mlx_vlm(config: dict[str, Any], positions: int, kv_bits: int | None) -> int:
    """mlx-vlm."""
    from mlx_vlm.generate import maybe_quantize_kv_cache
    from mlx_vlm.models.gemma4.language import LanguageModel
    from mlx_vlm.models.gemma4_unified.config import TextConfig

    caches = LanguageModel(TextConfig.from_dict(config["text_config"])).make_cache()
    maybe_quantize_kv_cache(caches, 0, 64, kv_bits, "turboquant")
    return filled(caches, config["text_config"], positions)


def transformers(config: dict[str, Any], positions: int, kv_bits: int | None) -> int:
    """transformers, on torch's device without memory."""
    if kv_bits is not None:
        raise SystemExit("its quantized caches do not know sliding layers")
    import torch
    from transformers import DynamicCache
    from transformers.models.gemma4_unified.configuration_gemma4_unified import Gemma4UnifiedConfig

    cache = DynamicCache(config=Gemma4UnifiedConfig(**config))
    for index in range(len(config["text_config"]["layer_types"])):
        heads, width = shape(config["text_config"], index)
        for length in pieces(positions):
            rows = torch.empty((1, heads, length, width), dtype=torch.bfloat16, device="meta")
            cache.update(rows, rows, index)
    return sum(part.nbytes for layer in cache.layers for part in (layer.keys, layer.values))


def filled(caches: Any, text: dict[str, Any], positions: int) -> int:
    """Bytes of MLX caches after a prompt and a token, all of them lazy."""
    import mlx.core as mx
    from mlx.utils import tree_flatten

    for index, cache in enumerate(caches):
        heads, width = shape(text, index)
        for length in pieces(positions):
            rows = mx.zeros((1, heads, length, width), dtype=mx.bfloat16)
            cache.update_and_fetch(rows, rows)
    return sum(array.nbytes for cache in caches for _, array in tree_flatten([cache.keys, cache.values]))


def shape(text: dict[str, Any], index: int) -> tuple[int, int]:
    """Key/value heads of a layer, and their width."""
    if text["layer_types"][index] == "full_attention":
        return text["num_global_key_value_heads"], text["global_head_dim"]
    return text["num_key_value_heads"], text["head_dim"]


def pieces(positions: int) -> list[int]:
    """Lengths of what is written at once: a prompt in pieces, then one token."""
    prompt = positions - 1
    return [min(PIECE, prompt - start) for start in range(0, prompt, PIECE)] + [1]


SIZES: dict[str, Callable[[dict[str, Any], int, int | None], int]] = {
    "gemma4_mlx": ours,
    "mlx-lm": mlx_lm,
    "mlx-vlm": mlx_vlm,
    "transformers": transformers,
}


def main() -> None:
    """Prints one size."""
    parser = argparse.ArgumentParser(description="Tell the bytes of one engine's caches.")
    parser.add_argument("engine", choices=SIZES)
    parser.add_argument("config", type=Path)
    parser.add_argument("positions", type=int)
    parser.add_argument("--kv-bits", type=int)
    args = parser.parse_args()
    config = json.loads(args.config.read_text(encoding="utf-8"))
    print(json.dumps({"bytes": SIZES[args.engine](config, args.positions, args.kv_bits)}))


if __name__ == "__main__":
    main()
