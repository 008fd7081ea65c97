"""Write a checkpoint folder in the published layout: python -m train_nano.export FOLDER

bfloat16 weights under the Hub's tensor names, config, tokenizer, chat template, processor and generation settings.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

from train_nano.architecture import Architecture, to_config
from train_nano.chat import TEMPLATE
from train_nano.data.videos import FRAMES
from train_nano.media import BUDGET, FRAME, RATE
from train_nano.settings import RUN, TOKENIZER
from train_nano.tokenizer import SPECIAL


def processor_config() -> dict[str, Any]:
    """How media become soft tokens: 70 an image, 4 frames a video."""
    pixels = {
        "do_convert_rgb": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.0, 0.0, 0.0],
        "image_std": [1.0, 1.0, 1.0],
        "max_soft_tokens": BUDGET,
        "patch_size": 16,
        "pooling_kernel_size": 3,
        "resample": 3,
        "rescale_factor": 1 / 255,
    }
    video = {"do_normalize": True, "do_sample_frames": True, "num_frames": FRAMES, "return_metadata": False}
    return {
        "audio_ms_per_token": 1000 * FRAME // RATE,
        "audio_seq_length": 750,
        "feature_extractor": {
            "audio_samples_per_token": FRAME,
            "feature_extractor_type": "Gemma4UnifiedAudioFeatureExtractor",
            "feature_size": FRAME,
            "padding_side": "right",
            "padding_value": 0.0,
            "return_attention_mask": True,
            "sampling_rate": RATE,
        },
        "image_processor": pixels | {"do_normalize": False, "image_processor_type": "Gemma4UnifiedImageProcessor"},
        "image_seq_length": BUDGET,
        "processor_class": "Gemma4UnifiedProcessor",
        "video_processor": pixels | video | {"video_processor_type": "Gemma4UnifiedVideoProcessor"},
    }


def tokenizer_config() -> dict[str, Any]:
    return {
        "audio_token": "<|audio|>",
        "boa_token": "<|audio>",
        "boi_token": "<|image>",
        "bos_token": "<bos>",
        "eoa_token": "<audio|>",
        "eoi_token": "<image|>",
        "eos_token": "<eos>",
        "image_token": "<|image|>",
        "mask_token": "<mask>",
        "model_max_length": Architecture().max_positions,
        "pad_token": "<pad>",
        "padding_side": "left",
        "tokenizer_class": "GemmaTokenizer",
        "unk_token": "<unk>",
    }


def generation_config(tokens: dict[str, int]) -> dict[str, Any]:
    """Greedy: a model this small answers questions that have one right answer."""
    return {
        "bos_token_id": tokens["<bos>"],
        "do_sample": False,
        "eos_token_id": [tokens["<eos>"], tokens["<turn|>"], tokens["<|tool_response>"]],
        "pad_token_id": tokens["<pad>"],
        "suppress_tokens": [tokens["<audio|>"], tokens["<image|>"]],
    }


def export(folder: Path, checkpoint: Path) -> None:
    """Write everything but the model card."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = torch.load(checkpoint, weights_only=True)["model"]
    kept = {n: w.to(torch.bfloat16).contiguous() for n, w in weights.items() if n.startswith("model.")}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)
    tokenizer = Tokenizer.from_file(str(TOKENIZER))
    tokens = {t: tokenizer.token_to_id(t) for t in SPECIAL}
    settings = {
        "config.json": to_config(Architecture(), tokens),
        "generation_config.json": generation_config(tokens),
        "processor_config.json": processor_config(),
        "tokenizer_config.json": tokenizer_config(),
    }
    for name, content in settings.items():
        (folder / name).write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
    shutil.copy(TOKENIZER, folder / "tokenizer.json")
    shutil.copy(TEMPLATE, folder / "chat_template.jinja")
    print(
        f"{sum(w.numel() for w in kept.values()):,} parameters, {(folder / 'model.safetensors').stat().st_size:,} bytes"
    )


if __name__ == "__main__":
    export(Path(sys.argv[1]), RUN / "checkpoint.pt")
