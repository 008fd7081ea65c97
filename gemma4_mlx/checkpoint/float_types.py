"""One floating-point type for a whole model: MLX computes in float32 if two of 16 bits meet, caches included."""

from collections import Counter

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten, tree_unflatten

from gemma4_mlx.checkpoint.files import some
from gemma4_mlx.errors import note
from gemma4_mlx.model.disk import disk

FLOAT_TYPES = (mx.float32, mx.float16, mx.bfloat16)
ADAPTER_TENSORS = ("lora_a", "lora_b", "m")


def unify(model: nn.Module, decoder: nn.Module) -> None:
    """Give all weights the type that most of the decoder's numbers have; a note says which change, and into what.

    Adapters keep theirs: what they add is rounded to the type of what they add it to. Nothing is read.
    """
    floats = {
        name: array
        for name, array in tree_flatten(model.parameters())
        if array.dtype in FLOAT_TYPES and name.rpartition(".")[2] not in ADAPTER_TENSORS
    }
    if len({array.dtype for array in floats.values()}) < 2:
        return
    chosen = _most_common(decoder) or _most_common(model) or mx.float32
    others = sorted(name for name, array in floats.items() if array.dtype != chosen)
    kinds = sorted({_name(floats[name].dtype) for name in others})
    note(f"the weights have several types: {some(others)} ({', '.join(kinds)}) become {_name(chosen)}, as most are")
    changed = [(name, floats[name].astype(chosen, stream=disk())) for name in others]
    model.update(tree_unflatten(changed), strict=False)


def _most_common(module: nn.Module) -> mx.Dtype | None:
    """The type of most numbers in matrices, by their scales if they are packed; None if none has one."""
    counted: Counter[mx.Dtype] = Counter()
    for _, part in module.named_modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            counted[part.weight.dtype] += part.weight.size
        elif hasattr(part, "scales") and part.scales.dtype in FLOAT_TYPES:
            counted[part.scales.dtype] += part.weight.size * 32 // part.bits
    return counted.most_common(1)[0][0] if counted else None


def _name(dtype: mx.Dtype) -> str:
    return str(dtype).removeprefix("mlx.core.")
