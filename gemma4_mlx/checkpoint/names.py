"""Tensor names: three dialects in, the module tree's own (that of MLX checkpoints) out."""

import re

WRAPPERS = re.compile(r"^(?:base_model\.|_orig_mod\.|module\.|model\.)+")
"""What the Hub, and tools that train or compile a model, put before all names."""

# Prefixes of each dialect and the module tree's own; the first that fits counts, so longer ones stand first.
PREFIXES = (
    # transformers 5.23 in memory: one vision module that holds embedder and projection
    ("embed_vision.multimodal_embedder.embedding_projection.", "embed_vision.embedding_projection."),
    ("embed_vision.patch_", "vision_embedder.patch_"),
    ("embed_vision.pos_", "vision_embedder.pos_"),
    # MLX
    ("language_model.model.", "language_model.model."),
    # Hub
    ("language_model.", "language_model.model."),
    # text-only exports, and drafters
    *((name, f"language_model.model.{name}") for name in ("embed_tokens.", "layers.", "norm.", "lm_head.")),
)


def module_name(name: str) -> str:
    """The module tree's name of a tensor or module in any dialect: the Hub's (with or without its leading `model.`),
    the one of transformers' own exports, or MLX's."""
    name = WRAPPERS.sub("", name)
    for prefix, own in PREFIXES:
        if name.startswith(prefix):
            return own + name.removeprefix(prefix)
    return name
