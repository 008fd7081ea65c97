"""Which modules are quantized, and with how many bits.

Only the language model is: it is 99.6 % of the weights. The projections of raw pixels and raw sound stay as they are:
all of them together take 90 MB, and there is no encoder behind them that could make up for their errors.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gemma4_mlx.config import ModelConfig
from gemma4_mlx.errors import UsageError

AFFINE = "affine"
AFFINE_BITS, AFFINE_GROUPS = (2, 3, 4, 5, 6, 8), (32, 64, 128)

DEFAULTS: Mapping[str, tuple[int, int]] = {AFFINE: (4, 64), "mxfp4": (4, 32), "mxfp8": (8, 32), "nvfp4": (4, 16)}
"""Bits and group size of each mode; the only ones that the floating-point modes have."""

RECIPES: Mapping[str, tuple[int, int]] = {
    "mixed_2_6": (2, 6),
    "mixed_3_4": (3, 4),
    "mixed_3_6": (3, 6),
    "mixed_4_6": (4, 6),
    "mixed_4_8": (4, 8),
}
"""Bits of most modules, and of those that a recipe spares."""

LAYERS = "language_model.model.layers."


@dataclass(frozen=True, slots=True)
class Quantization:
    """How weights are quantized.

    Attributes:
        group_size: weights in a row that share a scale.
        bits: bits of a weight.
        mode: affine, mxfp4, mxfp8 or nvfp4.
        spared_bits: bits of the modules that suffer most (see `is_spared`), or None for the same everywhere.
    """

    group_size: int
    bits: int
    mode: str = AFFINE
    spared_bits: int | None = None

    @classmethod
    def choose(
        cls, mode: str = AFFINE, bits: int | None = None, group_size: int | None = None, recipe: str | None = None
    ) -> "Quantization":
        """Fills in what is not given. Raises UsageError for what MLX has no kernels for."""
        if mode not in DEFAULTS:
            raise UsageError(f"no quantization mode {mode!r}; there are {', '.join(DEFAULTS)}")
        if recipe is not None:
            return cls._from_recipe(recipe, mode, bits, group_size)
        default_bits, default_group = DEFAULTS[mode]
        chosen = cls(default_group if group_size is None else group_size, default_bits if bits is None else bits, mode)
        if mode != AFFINE and (chosen.bits, chosen.group_size) != DEFAULTS[mode]:
            raise UsageError(f"{mode} has {default_bits} bits and groups of {default_group}; leave both options out")
        return chosen._checked()

    @classmethod
    def _from_recipe(cls, recipe: str, mode: str, bits: int | None, group_size: int | None) -> "Quantization":
        if recipe not in RECIPES:
            raise UsageError(f"no recipe {recipe!r}; there are {', '.join(RECIPES)}")
        if mode != AFFINE or bits is not None:
            raise UsageError(f"the recipe {recipe} sets the bits of affine quantization; leave bits and mode out")
        low, high = RECIPES[recipe]
        return cls(DEFAULTS[AFFINE][1] if group_size is None else group_size, low, AFFINE, high)._checked()

    def _checked(self) -> "Quantization":
        if self.mode == AFFINE and self.bits not in AFFINE_BITS:
            raise UsageError(f"{self.bits} bits are not possible; affine has {', '.join(map(str, AFFINE_BITS))}")
        if self.mode == AFFINE and self.group_size not in AFFINE_GROUPS:
            raise UsageError(f"groups of {self.group_size} are not possible; affine has 32, 64 and 128")
        return self

    def settings(self, *, spared: bool = False) -> dict[str, Any]:
        """The entries of config.json's `quantization`."""
        bits = self.spared_bits if spared and self.spared_bits else self.bits
        return {"group_size": self.group_size, "bits": bits, "mode": self.mode}


def plan(quantization: Quantization, config: ModelConfig, widths: Mapping[str, int]) -> dict[str, dict[str, Any]]:
    """Settings of each module that is quantized, by path, out of modules with these input widths.

    Raises UsageError where the group size divides no width.
    """
    chosen = {
        path: quantization.settings(spared=is_spared(path, config))
        for path, width in widths.items()
        if path.startswith("language_model.") and width % quantization.group_size == 0
    }
    if not chosen:
        raise UsageError(f"no weights of this model divide into groups of {quantization.group_size}")
    return chosen


def is_spared(path: str, config: ModelConfig) -> bool:
    """Whether a recipe gives this module its higher number of bits.

    As in llama.cpp's Q4_K_M these are v_proj and down_proj in the first and last eighth of the layers and in every
    third between. This model adds two:

    - `k_proj` of every full layer. These layers have no v_proj, because k_proj's output is the values too.
    - `embed_tokens`. The embedding is tied: it is the output head as well, so its errors are errors of the logits.
    """
    if path.endswith(".embed_tokens"):
        return True
    if not path.startswith(LAYERS):
        return False
    layer = int(path.removeprefix(LAYERS).split(".")[0])
    if path.endswith(".k_proj"):
        return config.text.layers[layer].window is None
    return path.endswith((".v_proj", ".down_proj")) and _is_sensitive(layer, len(config.text.layers))


def config_entries(quantization: Quantization, chosen: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """config.json's `quantization`: the settings for all, then the modules that differ."""
    general = quantization.settings()
    return general | {path: dict(own) for path, own in chosen.items() if own != general}


def _is_sensitive(layer: int, layers: int) -> bool:
    eighth = layers // 8
    return layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2
