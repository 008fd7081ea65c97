"""The nano model's sizes, and the config.json they become (the dialect of the published checkpoints)."""

from dataclasses import dataclass, field
from typing import Any

SLIDING, FULL = "sliding_attention", "full_attention"


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """Sizes of one Gemma 4 Unified model.

    Attributes:
        layer_types: one of ``sliding_attention`` and ``full_attention`` for every block.
        window: a sliding layer's query at p sees keys at positions greater than p - window.
        rotary_fraction: share of a full layer's head that is rotated ("proportional" RoPE).
        positions: rows of the patch position table, the most patches along one side of an image.
    """

    vocab: int = 2048
    hidden: int = 256
    mlp: int = 512
    layer_types: tuple[str, ...] = (SLIDING, SLIDING, FULL) * 2
    heads: int = 6
    head_dim: int = 32
    kv_heads: int = 2
    global_head_dim: int = 64
    global_kv_heads: int = 1
    window: int = 256
    rope_theta: float = 1e4
    global_rope_theta: float = 1e6
    rotary_fraction: float = 0.25
    softcap: float = 30.0
    eps: float = 1e-6
    vision_dim: int = 256
    positions: int = 96
    max_positions: int = 131072
    initializer_range: float = 0.02
    patch_values: int = field(default=48 * 48 * 3)
    frame_samples: int = field(default=640)

    def head(self, layer: int) -> tuple[int, int]:
        """(head dim, KV heads) of a layer."""
        if self.layer_types[layer] == FULL:
            return self.global_head_dim, self.global_kv_heads
        return self.head_dim, self.kv_heads


def from_config(config: dict[str, Any]) -> Architecture:
    """Read the sizes from a config.json, in the published dialect or in transformers' (`per_layer_config`)."""
    text, vision = config["text_config"], config["vision_config"]
    layer_types = tuple(text["layer_types"])
    full = text.get("per_layer_config", {}).get(f"{layer_types.index(FULL):02d}", {})
    rope = text["rope_parameters"]
    return Architecture(
        vocab=text["vocab_size"],
        hidden=text["hidden_size"],
        mlp=text["intermediate_size"],
        layer_types=layer_types,
        heads=text["num_attention_heads"],
        head_dim=text["head_dim"],
        kv_heads=text["num_key_value_heads"],
        global_head_dim=text.get("global_head_dim") or full["head_dim"],
        global_kv_heads=text.get("num_global_key_value_heads") or full["num_key_value_heads"],
        window=text["sliding_window"],
        rope_theta=rope[SLIDING]["rope_theta"],
        global_rope_theta=rope[FULL]["rope_theta"],
        rotary_fraction=rope[FULL]["partial_rotary_factor"],
        softcap=text["final_logit_softcapping"],
        eps=text["rms_norm_eps"],
        vision_dim=vision["mm_embed_dim"],
        positions=vision["mm_posemb_size"],
        max_positions=text["max_position_embeddings"],
    )


def to_config(arch: Architecture, tokens: dict[str, int]) -> dict[str, Any]:
    """config.json for `arch`; `tokens` maps the special tokens to their ids."""
    return {
        "architectures": ["Gemma4UnifiedForConditionalGeneration"],
        "audio_config": {
            "audio_embed_dim": arch.frame_samples,
            "audio_samples_per_token": arch.frame_samples,
            "hidden_size": arch.frame_samples,
            "initializer_range": arch.initializer_range,
            "model_type": "gemma4_unified_audio",
            "output_proj_dims": arch.frame_samples,
            "rms_norm_eps": arch.eps,
        },
        "audio_token_id": tokens["<|audio|>"],
        "boa_token_id": tokens["<|audio>"],
        "boi_token_id": tokens["<|image>"],
        "dtype": "bfloat16",
        "eoa_token_index": tokens["<audio|>"],
        "eoi_token_id": tokens["<image|>"],
        "eos_token_id": [tokens["<eos>"], tokens["<turn|>"]],
        "image_token_id": tokens["<|image|>"],
        "initializer_range": arch.initializer_range,
        "model_type": "gemma4_unified",
        "text_config": _text_config(arch, tokens),
        "tie_word_embeddings": True,
        "video_token_id": tokens["<|video|>"],
        "vision_config": {
            "initializer_range": arch.initializer_range,
            "mm_embed_dim": arch.vision_dim,
            "mm_posemb_size": arch.positions,
            "model_patch_size": 48,
            "model_type": "gemma4_unified_vision",
            "num_soft_tokens": 70,
            "output_proj_dims": arch.vision_dim,
            "patch_size": 16,
            "pooling_kernel_size": 3,
            "rms_norm_eps": arch.eps,
        },
    }


def _text_config(arch: Architecture, tokens: dict[str, int]) -> dict[str, Any]:
    return {
        "attention_bias": False,
        "attention_dropout": 0.0,
        "attention_k_eq_v": True,
        "bos_token_id": tokens["<bos>"],
        "enable_moe_block": False,
        "eos_token_id": tokens["<eos>"],
        "final_logit_softcapping": arch.softcap,
        "global_head_dim": arch.global_head_dim,
        "head_dim": arch.head_dim,
        "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": arch.hidden,
        "hidden_size_per_layer_input": 0,
        "initializer_range": arch.initializer_range,
        "intermediate_size": arch.mlp,
        "layer_types": list(arch.layer_types),
        "max_position_embeddings": arch.max_positions,
        "model_type": "gemma4_unified_text",
        "num_attention_heads": arch.heads,
        "num_global_key_value_heads": arch.global_kv_heads,
        "num_hidden_layers": len(arch.layer_types),
        "num_key_value_heads": arch.kv_heads,
        "num_kv_shared_layers": 0,
        "pad_token_id": tokens["<pad>"],
        "rms_norm_eps": arch.eps,
        "rope_parameters": {
            FULL: {
                "partial_rotary_factor": arch.rotary_fraction,
                "rope_theta": arch.global_rope_theta,
                "rope_type": "proportional",
            },
            SLIDING: {"rope_theta": arch.rope_theta, "rope_type": "default"},
        },
        "sliding_window": arch.window,
        "tie_word_embeddings": True,
        "use_bidirectional_attention": "vision",
        "use_cache": True,
        "use_double_wide_mlp": False,
        "vocab_size": arch.vocab,
        "vocab_size_per_layer_input": arch.vocab,
    }
