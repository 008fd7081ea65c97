"""Projections that read the same input, put together: one matrix product instead of several."""

import copy
from collections.abc import Sequence

import mlx.core as mx
import mlx.nn as nn


class Stack(nn.Module):
    """Projections that can't be one matrix (other bits, adapters), called one by one, outputs side by side."""

    def __init__(self, parts: Sequence[nn.Module]) -> None:
        super().__init__()
        self.parts = list(parts)

    def __call__(self, x: mx.array) -> mx.array:
        return mx.concatenate([part(x) for part in self.parts], axis=-1)


def merge(parts: Sequence[nn.Module]) -> nn.Module:
    """A new module with the outputs of all parts, side by side. The parts stay as they are."""
    if len({_kind(part) for part in parts}) > 1 or type(parts[0]) not in (nn.Linear, nn.QuantizedLinear):
        return Stack(parts)
    merged = copy.copy(parts[0])
    for name in list(merged.parameters()):
        merged[name] = mx.concatenate([part[name] for part in parts], axis=0)
    return merged


def reorder(projection: nn.Module, order: mx.array) -> nn.Module:
    """A copy of a projection with reordered outputs, adapters included.

    Exact for packed weights: each row has its own scales.
    """
    reordered = copy.copy(projection)
    if "linear" in projection:  # LoRA: linear(x) + scale * x @ lora_a @ lora_b; DoRA has magnitudes of the outputs too
        reordered.linear = reorder(projection.linear, order)
        reordered.lora_b = projection.lora_b[:, order]
        if "m" in projection:
            reordered.m = projection.m[order]
        return reordered
    for name, array in projection.parameters().items():
        reordered[name] = array[order]
    return reordered


def last_outputs(projection: nn.Module, x: mx.array, count: int) -> mx.array:
    """The last `count` outputs of a merged projection, without computing the others."""
    if isinstance(projection, Stack):
        return projection.parts[-1](x)
    if isinstance(projection, nn.QuantizedLinear):
        biases = projection.get("biases")
        return mx.quantized_matmul(
            x,
            projection.weight[-count:],
            projection.scales[-count:],
            None if biases is None else biases[-count:],
            transpose=True,
            group_size=projection.group_size,
            bits=projection.bits,
            mode=projection.mode,
        )
    return x @ projection.weight[-count:].T


def _kind(module: nn.Module) -> tuple[object, ...]:
    settings = (module.bits, module.group_size, module.mode) if isinstance(module, nn.QuantizedLinear) else ()
    return (type(module), *settings)
