"""Tells models apart without reading all of their weights."""

import hashlib

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten

from gemma4_mlx.model.unified import Gemma4Unified

SAMPLES = 2048
"""Numbers of a tensor, evenly spread, that count: even a small change of the weights reaches most of all numbers."""


def fingerprint(model: Gemma4Unified) -> str:
    """SHA-256 of the configuration, of every tensor's name, shape and type, and of a sample of its numbers.

    Weights count as they are arranged to run, adapters included; what is still on disk is read.
    """
    tensors = sorted(tree_flatten(model.prepare().parameters()))
    hashed = hashlib.sha256(repr(model.config).encode())
    scales = [(path, module.scale) for path, module in model.named_modules() if "lora_a" in module]
    hashed.update(repr(sorted(scales)).encode())
    for name, tensor in tensors:
        hashed.update(f"\n{name} {tensor.dtype} {tensor.shape}".encode())
    samples = mx.concatenate([_sample(tensor) for _, tensor in tensors])
    hashed.update(np.array(samples).data)
    return hashed.hexdigest()


def _sample(tensor: mx.array) -> mx.array:
    flat = tensor.reshape(-1)
    return mx.contiguous(flat[:: max(1, flat.size // SAMPLES)]).view(mx.uint8)
