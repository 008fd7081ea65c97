"""Models with random weights, made in memory: enough to tell whether two ways of computing agree."""

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten

from gemma4_mlx.config import ModelConfig
from gemma4_mlx.model.unified import Gemma4Unified

GROUP = 64


def random_model(config: ModelConfig, dtype: mx.Dtype, bits: int | None = None) -> Gemma4Unified:
    """The same weights every time, in the type asked for; with `bits`, the decoder's matrices are quantized."""
    model = Gemma4Unified(config)
    key = mx.random.key(0)
    weights = []
    for name, array in tree_flatten(model.parameters()):
        key, own = mx.random.split(key)
        mean, deviation = _spread(name, array.shape)
        weights.append((name, mx.random.normal(array.shape, loc=mean, scale=deviation, key=own)))
    model.load_weights(weights)
    if bits is not None:
        nn.quantize(model.language_model, GROUP, bits)
    model.set_dtype(dtype)
    mx.eval(model.parameters())
    return model.eval().prepare()


def _spread(name: str, shape: tuple[int, ...]) -> tuple[float, float]:
    """Mean and deviation of a tensor, such that attention is neither flat nor a single peak."""
    if name.endswith(("q_norm.weight", "k_norm.weight")):
        return 0.3, 0.03
    if len(shape) == 1:
        return (0.0, 0.1) if name.endswith("bias") else (1.0, 0.1)
    return 0.0, shape[-1] ** -0.5
