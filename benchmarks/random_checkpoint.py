"""Writes checkpoints of any shape with random weights: plain ones in the layout of the Hub, or quantized MLX ones.

python -m benchmarks.random_checkpoint FOLDER [--preset tiny|12b|12b-4bit] [--layers N] [--hidden N] ... [--bits N]

They answer nonsense, but everything else about them is real: configuration, tensor names, tokenizer, chat template.
The tokenizer is a small one, so most ids of a large vocabulary stand for no text. Quantized weights are drawn packed
and never were anything else: the 12B at 4 bits, 6.8 GB, takes half a minute and 1 GB of memory.
"""

import argparse
import json
import math
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten
from tokenizers import Tokenizer

from benchmarks.running import run_benchmark
from benchmarks.shapes import full_size_config, generation_config, processor_config, tiny_config, with_token_ids
from benchmarks.small_tokenizer import write_tokenizer
from gemma4_mlx.checkpoint.quantize import AFFINE_BITS, Quantization, config_entries, plan
from gemma4_mlx.checkpoint.shards import ShardWriter
from gemma4_mlx.config import ModelConfig
from gemma4_mlx.model.unified import Gemma4Unified

TEMPLATE = Path(__file__).parent.parent / "train_nano" / "chat_template.jinja"
CHUNK = 1 << 24
"""Random numbers drawn at once."""

PRESETS = {"tiny": (tiny_config, None), "12b": (full_size_config, None), "12b-4bit": (full_size_config, 4)}
"""What makes the configuration, and the bits of the language model's weights."""

SIZES = {
    "layers": ("num_hidden_layers", "decoder layers, every sixth a full one"),
    "hidden": ("hidden_size", "width of the hidden states"),
    "mlp": ("intermediate_size", "width inside the MLP"),
    "heads": ("num_attention_heads", "query heads"),
    "head-dim": ("head_dim", "size of a head in sliding layers"),
    "kv-heads": ("num_key_value_heads", "key/value heads of sliding layers"),
    "global-head-dim": ("global_head_dim", "size of a head in full layers"),
    "global-kv-heads": ("num_global_key_value_heads", "key/value heads of full layers"),
    "window": ("sliding_window", "positions that a sliding layer sees"),
    "positions": ("max_position_embeddings", "positions that the model claims to hold"),
    "vocab": ("vocab_size", "entries of the vocabulary, at least the tokenizer's"),
}
"""Options that change a preset: the configuration's entry, and what it is."""


def write_checkpoint(
    folder: str | Path,
    config: dict[str, Any],
    *,
    dtype: str = "float32",
    bits: int | None = None,
    seed: int = 0,
    tokenizer: str | Path | None = None,
) -> Path:
    """Writes all files of a checkpoint and returns its folder.

    With `bits` the modules that `convert` quantizes by default have affine weights in groups of 64, scales and biases
    of `dtype`. `tokenizer` is a tokenizer.json, or a folder with one; without it a small one is trained. Token ids come
    from it, and the vocabulary is at least as large as it is.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    backend = write_tokenizer(folder, tokenizer)
    config = with_token_ids(config, backend) | {"dtype": dtype}
    shapes = dict(tensor_shapes(config))
    quantization = None if bits is None else Quantization.choose(bits=bits)
    packed = plan_packing(quantization, config, shapes) if quantization else {}
    if quantization:
        config |= dict.fromkeys(("quantization", "quantization_config"), config_entries(quantization, packed))
    write_settings(folder, config, backend)
    writer = ShardWriter(folder)
    for number, (name, shape) in enumerate(shapes.items(), seed + 1):
        path = name.removesuffix(".weight")
        if path in packed:
            writer.add(random_packed(path, shape, packed[path], getattr(mx, dtype), number))
        else:
            stored = name if quantization else hub_name(name)
            writer.add({stored: random_tensor(name, shape, getattr(mx, dtype), mx.random.key(number))})
    writer.finish()
    return folder


def write_settings(folder: Path, config: dict[str, Any], tokenizer: Tokenizer) -> None:
    """Puts configuration and chat template into the folder."""
    files = {
        "config.json": config,
        "generation_config.json": generation_config(tokenizer),
        "processor_config.json": processor_config(),
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    shutil.copyfile(TEMPLATE, folder / "chat_template.jinja")


def plan_packing(
    quantization: Quantization, config: dict[str, Any], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, dict[str, Any]]:
    """Settings of each module that a conversion quantizes, by path."""
    matrices = {name.removesuffix(".weight"): shape[-1] for name, shape in shapes.items() if len(shape) == 2}
    return plan(quantization, ModelConfig.from_dict(config), matrices)


def tensor_shapes(config: dict[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Every tensor's name in the module tree, and its shape. The model is built but never evaluated."""
    for name, tensor in tree_flatten(Gemma4Unified(ModelConfig.from_dict(config)).parameters()):
        yield name, tensor.shape


def hub_name(name: str) -> str:
    """What the Hub calls a tensor of the module tree."""
    return "model." + name.replace("language_model.model.", "language_model.", 1)


def random_tensor(name: str, shape: tuple[int, ...], dtype: mx.Dtype, key: mx.array) -> mx.array:
    """Weights that keep activations near 1, so that rounding noise is not amplified from layer to layer."""
    if name.endswith(("q_norm.weight", "k_norm.weight")):
        return normal(shape, dtype, key, mean=0.3, deviation=0.03)
    if name.endswith(("norm.weight", "layernorm.weight", "_ln1.weight", "_ln2.weight")):
        return normal(shape, dtype, key, mean=1, deviation=0.1)
    if name.endswith("layer_scalar"):
        return mx.random.uniform(0.6, 1.0, shape, key=key).astype(dtype)
    if name.endswith("pos_embedding"):
        return normal(shape, dtype, key, deviation=0.3)
    return normal(shape, dtype, key, deviation=0.1 if len(shape) == 1 else shape[-1] ** -0.5)


def random_packed(
    path: str, shape: tuple[int, ...], settings: Mapping[str, Any], dtype: mx.Dtype, seed: int
) -> dict[str, mx.array]:
    """An affine matrix that was never anything else: random bits, and a scale and bias for each group of a row.

    Its weights are uniform around zero, with the deviation that `random_tensor` gives a plain matrix. The variance of
    whole numbers below n is (n^2 - 1) / 12.
    """
    (rows, width), bits = shape, settings["bits"]
    words = np.random.default_rng(seed).integers(0, 1 << 32, (rows, width * bits // 32), dtype=np.uint32)
    step = (width * ((1 << 2 * bits) - 1) / 12) ** -0.5
    spread = mx.random.uniform(0.8, 1.2, (rows, width // settings["group_size"]), key=mx.random.key(seed))
    scales = (step * spread).astype(dtype)
    biases = scales * (-((1 << bits) - 1) / 2)
    return {f"{path}.weight": mx.array(words), f"{path}.scales": scales, f"{path}.biases": biases}


def normal(shape: tuple[int, ...], dtype: mx.Dtype, key: mx.array, *, mean: float = 0, deviation: float) -> mx.array:
    """Normal numbers, drawn in chunks: the generator needs several times the memory of what it returns."""
    rows = max(1, CHUNK // max(1, math.prod(shape[1:])))
    pieces = []
    for start in range(0, shape[0], rows):
        key, own = mx.random.split(key)
        piece = mx.random.normal((min(rows, shape[0] - start), *shape[1:]), loc=mean, scale=deviation, key=own)
        pieces.append(piece.astype(dtype))
        mx.eval(pieces[-1], key)
    return pieces[0] if len(pieces) == 1 else mx.concatenate(pieces)


def main() -> None:
    """Writes one checkpoint."""
    parser = argparse.ArgumentParser(description="Write a checkpoint with random weights.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--preset", choices=PRESETS, default="tiny", help="what the options below change (tiny)")
    for option, (entry, what) in SIZES.items():
        parser.add_argument(f"--{option}", dest=entry, metavar="N", type=int, help=what)
    parser.add_argument("--bits", choices=AFFINE_BITS, type=int, help="quantize the language model in groups of 64")
    parser.add_argument("--dtype", choices=("float32", "float16", "bfloat16"), default="bfloat16")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tokenizer", type=Path, help="a tokenizer.json (default: a small one of its own)")
    args = parser.parse_args()
    make_config, bits = PRESETS[args.preset]
    given = {entry: getattr(args, entry) for entry, _ in SIZES.values() if getattr(args, entry) is not None}
    written = {"dtype": args.dtype, "seed": args.seed, "tokenizer": args.tokenizer}
    print(write_checkpoint(args.folder, make_config(**given), bits=args.bits or bits, **written))


if __name__ == "__main__":
    run_benchmark(main, "a minute or two")
