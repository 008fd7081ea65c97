"""Configurations without a checkpoint: the published model's, and others of the same kind with other sizes."""

import mlx.core as mx
import mlx.nn as nn

from gemma4_mlx.config import AudioConfig, LayerConfig, ModelConfig, RopeConfig, TextConfig, TokenIds, VisionConfig
from gemma4_mlx.engine.plan import module_bytes
from gemma4_mlx.model.unified import Gemma4Unified

GROUP = 64
"""Weights that share a scale and a bias."""

PERIOD = "SSSSSF"
"""Five sliding layers, then a full one."""


def make_config(
    *,
    layers: str,
    hidden: int,
    mlp: int,
    heads: int,
    head_dim: int,
    kv_heads: int,
    full_head_dim: int,
    window: int,
    vocab: int,
    context: int,
) -> ModelConfig:
    """`layers` has an S for each sliding and an F for each full layer. All else is the published model's."""
    sliding = LayerConfig(head_dim, kv_heads, RopeConfig(1e4), window)
    full = LayerConfig(full_head_dim, 1, RopeConfig(1e6, 0.25), None)
    return ModelConfig(
        text=TextConfig(
            vocab_size=vocab,
            hidden_size=hidden,
            intermediate_size=mlp,
            num_attention_heads=heads,
            rms_norm_eps=1e-6,
            final_logit_softcapping=30.0,
            max_position_embeddings=context,
            layers=tuple(full if kind == "F" else sliding for kind in layers),
        ),
        vision=VisionConfig(patch_size=48, mm_embed_dim=hidden, mm_posemb_size=1120, rms_norm_eps=1e-6),
        audio=AudioConfig(samples_per_token=640, rms_norm_eps=1e-6),
        tokens=TokenIds(pad=0, image=1, video=2, audio=3, image_start=4, image_end=5, audio_start=6, audio_end=7),
        quantization=None,
    )


def published_config(layers: str = PERIOD * 8, vocab: int = 262144, context: int = 262144) -> ModelConfig:
    """The shapes of Gemma 4 12B Unified, from its config.json, or other layers of its widths. The token ids are not the
    published ones."""
    return make_config(
        layers=layers,
        hidden=3840,
        mlp=15360,
        heads=16,
        head_dim=256,
        kv_heads=8,
        full_head_dim=512,
        window=1024,
        vocab=vocab,
        context=context,
    )


def stored_bytes(config: ModelConfig, bits: int) -> int:
    """Bytes of all weights of a checkpoint: the language model at so many bits (16: plain), the rest in bfloat16.

    Nothing is allocated: only shapes are looked at.
    """
    model = Gemma4Unified(config)
    model.set_dtype(mx.bfloat16)
    if bits < 16:
        nn.quantize(model.language_model, GROUP, bits)
    return module_bytes(model)
