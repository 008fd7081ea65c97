"""Configurations of random checkpoints: the published one with other sizes."""

from typing import Any

from tokenizers import Tokenizer

from benchmarks.small_tokenizer import train_tokenizer

PERIOD = ("sliding_attention",) * 5 + ("full_attention",)


def tiny_config(**overrides: Any) -> dict[str, Any]:
    """A model of six layers and about a million weights, with the small tokenizer's vocabulary and token ids.

    `overrides` replace entries of `text_config`, or of the top level where it has one of that name. `num_hidden_layers`
    alone makes as many layers in the usual order; `hidden_size` is the width of the projected pictures too.
    """
    config = make_config(hidden=64, mlp=128, heads=4, head_dim=16, kv_heads=2, global_head_dim=32, window=16)
    return override(with_token_ids(config, train_tokenizer()), **overrides)


def full_size_config(**overrides: Any) -> dict[str, Any]:
    """The published 12B model's shapes, with the small tokenizer's token ids. `overrides` as in `tiny_config`."""
    config = make_config(hidden=3840, mlp=15360, heads=16, head_dim=256, kv_heads=8, global_head_dim=512, window=1024)
    published = {"num_hidden_layers": 48, "vocab_size": 262144, "max_position_embeddings": 262144}
    return override(with_token_ids(config, train_tokenizer()), **published | overrides)


def make_config(
    *, hidden: int, mlp: int, heads: int, head_dim: int, kv_heads: int, global_head_dim: int, window: int
) -> dict[str, Any]:
    """The published configuration with other sizes."""
    text = {
        "attention_bias": False,
        "attention_k_eq_v": True,
        "final_logit_softcapping": 30.0,
        "global_head_dim": global_head_dim,
        "head_dim": head_dim,
        "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": hidden,
        "hidden_size_per_layer_input": 0,
        "intermediate_size": mlp,
        "layer_types": list(PERIOD),
        "max_position_embeddings": 8192,
        "model_type": "gemma4_unified_text",
        "num_attention_heads": heads,
        "num_global_key_value_heads": 1,
        "num_hidden_layers": len(PERIOD),
        "num_key_value_heads": kv_heads,
        "num_kv_shared_layers": 0,
        "rms_norm_eps": 1e-6,
        "rope_parameters": {
            "full_attention": {"partial_rotary_factor": 0.25, "rope_theta": 1e6, "rope_type": "proportional"},
            "sliding_attention": {"rope_theta": 1e4, "rope_type": "default"},
        },
        "sliding_window": window,
        "tie_word_embeddings": True,
        "use_bidirectional_attention": "vision",
        "vocab_size": 0,
    }
    audio = {"audio_embed_dim": 640, "audio_samples_per_token": 640, "model_type": "gemma4_unified_audio"}
    vision = {
        "mm_embed_dim": hidden,
        "mm_posemb_size": 1120,
        "model_patch_size": 48,
        "model_type": "gemma4_unified_vision",
        "num_soft_tokens": 280,
        "output_proj_dims": hidden,
        "patch_size": 16,
        "pooling_kernel_size": 3,
        "rms_norm_eps": 1e-6,
    }
    return {
        "architectures": ["Gemma4UnifiedForConditionalGeneration"],
        "audio_config": audio | {"output_proj_dims": 640, "rms_norm_eps": 1e-6},
        "model_type": "gemma4_unified",
        "text_config": text,
        "tie_word_embeddings": True,
        "vision_config": vision,
    }


def override(config: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The configuration with changed entries, see `tiny_config`."""
    text = dict(config["text_config"])
    if "num_hidden_layers" in changes and "layer_types" not in changes:
        changes["layer_types"] = [PERIOD[layer % len(PERIOD)] for layer in range(changes["num_hidden_layers"])]
    top = {name: value for name, value in changes.items() if name in config}
    text |= {name: value for name, value in changes.items() if name not in top}
    text["num_hidden_layers"] = len(text["layer_types"])
    widths = dict.fromkeys(("mm_embed_dim", "output_proj_dims"), text["hidden_size"])
    return config | {"text_config": text, "vision_config": config["vision_config"] | widths} | top


def with_token_ids(config: dict[str, Any], tokenizer: Tokenizer) -> dict[str, Any]:
    """The configuration with the tokenizer's ids and a vocabulary that holds them."""
    id_of = tokenizer.token_to_id
    text = config["text_config"] | {
        "bos_token_id": id_of("<bos>"),
        "eos_token_id": id_of("<eos>"),
        "pad_token_id": id_of("<pad>"),
        "vocab_size": max(config["text_config"]["vocab_size"], tokenizer.get_vocab_size()),
    }
    return config | {
        "audio_token_id": id_of("<|audio|>"),
        "boa_token_id": id_of("<|audio>"),
        "boi_token_id": id_of("<|image>"),
        "eoa_token_index": id_of("<audio|>"),
        "eoi_token_id": id_of("<image|>"),
        "eos_token_id": [id_of("<eos>"), id_of("<turn|>")],
        "image_token_id": id_of("<|image|>"),
        "text_config": text,
        "video_token_id": id_of("<|video|>"),
    }


def generation_config(tokenizer: Tokenizer) -> dict[str, Any]:
    """The published sampling defaults with the tokenizer's ids."""
    id_of = tokenizer.token_to_id
    return {
        "bos_token_id": id_of("<bos>"),
        "do_sample": True,
        "eos_token_id": [id_of("<eos>"), id_of("<turn|>"), id_of("<|tool_response>")],
        "pad_token_id": id_of("<pad>"),
        "suppress_tokens": [id_of("<audio|>"), id_of("<image|>")],
        "temperature": 1.0,
        "top_k": 64,
        "top_p": 0.95,
    }


def processor_config() -> dict[str, Any]:
    """The published media settings."""
    pixels = {
        "do_convert_rgb": True,
        "do_normalize": False,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.0, 0.0, 0.0],
        "image_std": [1.0, 1.0, 1.0],
        "patch_size": 16,
        "pooling_kernel_size": 3,
        "resample": 3,
        "rescale_factor": 1 / 255,
    }
    image = pixels | {"image_processor_type": "Gemma4UnifiedImageProcessor", "max_soft_tokens": 280}
    video = pixels | {"do_sample_frames": True, "max_soft_tokens": 70, "num_frames": 32}
    audio = {
        "audio_samples_per_token": 640,
        "feature_extractor_type": "Gemma4UnifiedAudioFeatureExtractor",
        "feature_size": 640,
        "padding_side": "right",
        "padding_value": 0.0,
        "sampling_rate": 16000,
    }
    return {
        "audio_ms_per_token": 40,
        "audio_seq_length": 750,
        "feature_extractor": audio,
        "image_processor": image,
        "image_seq_length": 280,
        "processor_class": "Gemma4UnifiedProcessor",
        "video_processor": video | {"video_processor_type": "Gemma4UnifiedVideoProcessor"},
    }
