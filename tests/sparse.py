"""Checkpoints of the published model's shapes whose weights are holes in a file: headers are all that is there."""

import json
from collections.abc import Callable
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten

from gemma4_mlx.measure.shapes import published_config
from gemma4_mlx.model.unified import Gemma4Unified

CODES = {mx.uint32: "U32", mx.bfloat16: "BF16", mx.float32: "F32"}
ROPE = {
    "full_attention": {"partial_rotary_factor": 0.25, "rope_theta": 1e6, "rope_type": "proportional"},
    "sliding_attention": {"rope_theta": 1e4, "rope_type": "default"},
}
CONFIG = {
    "model_type": "gemma4_unified",
    "text_config": {
        **{"hidden_size": 3840, "intermediate_size": 15360, "num_attention_heads": 16, "num_key_value_heads": 8},
        **{"num_hidden_layers": 48, "num_global_key_value_heads": 1, "final_logit_softcapping": 30.0},
        "rope_parameters": ROPE,
    },
    "vision_config": {"mm_embed_dim": 3840},
    "audio_config": {"audio_embed_dim": 640},
}


def write_sparse(folder: Path, bits: Callable[[str], int | None]) -> Path:
    """Write a checkpoint; `bits` gives those of the matrix at a path, None for plain ones."""
    model = Gemma4Unified(published_config())
    model.set_dtype(mx.bfloat16)

    def choose(path: str, module: nn.Module) -> bool | dict[str, int]:
        own = bits(path) if hasattr(module, "to_quantized") else None
        return {"group_size": 64, "bits": own} if own else False

    nn.quantize(model, class_predicate=choose)
    header, end = {}, 0
    for name, tensor in tree_flatten(model.parameters()):
        offsets = [end, end + tensor.nbytes]
        header[name] = {"dtype": CODES[tensor.dtype], "shape": tensor.shape, "data_offsets": offsets}
        end += tensor.nbytes
    text = json.dumps(header).encode()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
    (folder / "config.json").write_text(json.dumps(CONFIG | {"quantization": {"group_size": 64, "bits": 4}}))
    (folder / "tokenizer.json").write_text("{}")
    return folder
