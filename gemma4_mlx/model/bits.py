"""How many bits the weights of a model really have, part by part: names of checkpoints promise what they don't hold."""

from collections import Counter
from collections.abc import Mapping

import mlx.nn as nn
from mlx.utils import tree_flatten

WORD = 32  # bits of the integers that packed weights are stored in
PACKED = ("weight", "scales", "biases")
"""Arrays of a packed matrix; the first has its numbers."""

MEDIA = "media"
PARTS: Mapping[str, str] = {
    "self_attn.": "attention",
    "mlp.": "MLP",
    "embed_tokens": "embedding",
    "vision_embedder.": MEDIA,
    "embed_vision.": MEDIA,
    "embed_audio.": MEDIA,
}
"""Parts by what the paths of their matrices contain."""


def bits_by_part(model: nn.Module) -> dict[str, Counter[int]]:
    """Number of weights by their bits, for each part that the model has. Only shapes are looked at."""
    found: dict[str, Counter[int]] = {}
    for path, module in model.named_modules():
        part = next((part for piece, part in PARTS.items() if piece in path), None)
        weight = module.get("weight") if part else None
        if part is None or weight is None or weight.ndim < 2:
            continue
        bits = getattr(module, "bits", 8 * weight.dtype.size)
        packed = hasattr(module, "bits")
        found.setdefault(part, Counter())[bits] += weight.size * WORD // bits if packed else weight.size
    return {part: found[part] for part in dict.fromkeys(PARTS.values()) if part in found}


def bits_text(model: nn.Module) -> str:
    """The bits of each part in words: "4 bits, media 16", or "attention 4, MLP 4 and 8, embedding 8, media 16"."""
    parts = {part: " and ".join(map(str, sorted(bits))) for part, bits in bits_by_part(model).items()}
    language = {bits for part, bits in parts.items() if part != MEDIA}
    if len(language) != 1:
        return ", ".join(f"{part} {bits}" for part, bits in parts.items())
    (alike,) = language
    media = parts.get(MEDIA, alike)
    return f"{alike} bits" + (f", {MEDIA} {media}" if media != alike else "")


def bits_per_weight(model: nn.Module) -> float:
    """All bytes of a model in bits, over the number of its weights; scales and biases count to the bytes alone."""
    arrays = dict(tree_flatten(model.parameters()))
    weights = sum(array.size for array in arrays.values())
    for path, module in model.named_modules():
        if hasattr(module, "scales"):
            packed = [arrays[f"{path}.{name}"].size for name in PACKED if f"{path}.{name}" in arrays]
            weights += packed[0] * WORD // module.bits - sum(packed)
    return 8 * sum(array.nbytes for array in arrays.values()) / max(weights, 1)
