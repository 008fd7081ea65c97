"""How the weights of a module were packed: their shapes tell it, whatever config.json says or leaves out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import mlx.core as mx

from gemma4_mlx.checkpoint.quantize import AFFINE, AFFINE_BITS, AFFINE_GROUPS, DEFAULTS
from gemma4_mlx.errors import GemmaError

WORD = 32  # bits of a packed element


@dataclass(frozen=True, slots=True)
class Packing:
    """Bits of a weight, weights in a row that share a scale, and the kind of quantization."""

    group_size: int
    bits: int
    mode: str

    def settings(self) -> dict[str, Any]:
        """Arguments of `to_quantized`."""
        return {"group_size": self.group_size, "bits": self.bits, "mode": self.mode}

    def __str__(self) -> str:
        return f"{self.mode}, {self.bits} bits in groups of {self.group_size}"


def read_packing(path: str, width: int, weights: Mapping[str, mx.array]) -> Packing:
    """The packing of a module with `width` inputs: weight `(..., width * bits / 32)`, scales `(..., width / group)`.

    Affine scales are floating-point numbers, those of the other modes are bytes. Raises GemmaError for other shapes.
    """
    weight, scales = weights[f"{path}.weight"], weights[f"{path}.scales"]
    words, groups = weight.shape[-1] * WORD, scales.shape[-1]
    if words % width == 0 and groups and width % groups == 0:
        bits, group_size = words // width, width // groups
        if scales.dtype != mx.uint8 and bits in AFFINE_BITS and group_size in AFFINE_GROUPS:
            return Packing(group_size, bits, AFFINE)
        for mode, numbers in DEFAULTS.items():
            if scales.dtype == mx.uint8 and mode != AFFINE and numbers == (bits, group_size):
                return Packing(group_size, bits, mode)
    raise GemmaError(
        f"{path}: weight {weight.shape} and scales {scales.shape} are no packing of {width} inputs that MLX has; "
        "convert the checkpoint again"
    )
