"""Configurations without a checkpoint: the published model's, and others of the same kind with other sizes."""

from gemma4_mlx.config import AudioConfig, LayerConfig, ModelConfig, RopeConfig, TextConfig, TokenIds, VisionConfig

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
