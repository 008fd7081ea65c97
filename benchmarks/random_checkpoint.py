"""Writes checkpoints of any shape with random weights, in the layout that the Hub has.

python -m benchmarks.random_checkpoint FOLDER [--preset tiny|12b] [--layers N] [--vocab N] [--dtype bfloat16]

They answer nonsense, but everything else about them is real: configuration, tensor names, tokenizer, chat template.
"""

import argparse
import json
import math
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from gemma4_mlx.checkpoint.shards import ShardWriter
from gemma4_mlx.config import ModelConfig
from gemma4_mlx.model.unified import Gemma4Unified

TEMPLATE = Path(__file__).parent.parent / "training" / "chat_template.jinja"
PERIOD = ("sliding_attention",) * 5 + ("full_attention",)
CHUNK = 1 << 24
"""Random numbers drawn at once."""

CONTROL_TOKENS = (
    *("<pad>", "<eos>", "<bos>", "<unk>", "<mask>"),
    *("<|tool>", "<tool|>", "<|tool_call>", "<tool_call|>", "<|tool_response>", "<tool_response|>"),
    *('<|"|>', "<|think|>", "<|channel>", "<channel|>", "<|turn>", "<turn|>"),
    *("<|image>", "<|audio>", "<|image|>", "<|audio|>", "<image|>", "<audio|>", "<|video|>"),
)

TRAINING_TEXT = """\
The little boat left the harbour early, and nobody on the pier could say where it was going.
What is in this picture? Two red apples, a glass of water and a letter that someone has folded twice.
Please transcribe the recording, then tell me in one sentence what the speaker was asking for.
She counted the steps on her way down: one, two, three, and so on until there were forty-eight of them.
system user model tool thought description parameters properties required type STRING NUMBER OBJECT call response value
def area(width, height): return width * height  # square metres
Der Zug nach Norden fährt um 7:45 Uhr; il treno per il sud parte alle 9:30; le prochain train est à midi.
"""


@cache
def train_tokenizer(vocab_size: int = 768) -> Tokenizer:
    """A byte-pair encoding with Gemma 4's control tokens, byte fallback and handling of spaces."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[*CONTROL_TOKENS, *(f"<0x{byte:02X}>" for byte in range(256))],
        initial_alphabet=[*map(chr, range(33, 127)), "\n", "▁"],
        show_progress=False,
    )
    tokenizer.train_from_iterator(TRAINING_TEXT.splitlines(keepends=True), trainer)
    state = json.loads(tokenizer.to_str())
    # The trainer made control tokens of the bytes too; they are ordinary entries.
    state["added_tokens"] = [token for token in state["added_tokens"] if token["content"] in CONTROL_TOKENS]
    tokenizer = Tokenizer.from_str(json.dumps(state))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in CONTROL_TOKENS])
    return tokenizer


def tiny_config(**overrides: Any) -> dict[str, Any]:
    """A model of six layers and about a million weights, with the small tokenizer's vocabulary and token ids.

    `overrides` replace entries of `text_config`, or of the top level where it has one of that name. `num_hidden_layers`
    alone makes as many layers in the usual order.
    """
    config = make_config(hidden=64, mlp=128, heads=4, head_dim=16, kv_heads=2, global_head_dim=32, window=16)
    return override(with_token_ids(config, train_tokenizer()), **overrides)


def full_size_config(layers: int = 48, vocab: int | None = None) -> dict[str, Any]:
    """Layers of the published 12B model's shapes."""
    config = make_config(hidden=3840, mlp=15360, heads=16, head_dim=256, kv_heads=8, global_head_dim=512, window=1024)
    changes = {"num_hidden_layers": layers, "max_position_embeddings": 262144} | (
        {"vocab_size": vocab} if vocab else {}
    )
    return override(with_token_ids(config, train_tokenizer()), **changes)


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
    return config | {"text_config": text} | top


def write_checkpoint(
    folder: str | Path,
    config: dict[str, Any],
    *,
    dtype: str = "float32",
    seed: int = 0,
    tokenizer: str | Path | None = None,
) -> Path:
    """Writes all files of a checkpoint and returns its folder.

    `tokenizer` is a tokenizer.json, or a folder with one; without it a small one is trained. Token ids come from it,
    and the vocabulary is at least as large as it is.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    backend = write_tokenizer(folder, tokenizer)
    config = with_token_ids(config, backend) | {"dtype": dtype}
    files = {
        "config.json": config,
        "generation_config.json": generation_config(backend),
        "processor_config.json": processor_config(),
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    shutil.copyfile(TEMPLATE, folder / "chat_template.jinja")
    writer = ShardWriter(folder)
    for name, shape in tensor_shapes(config):
        seed += 1
        writer.add({hub_name(name): random_tensor(name, shape, getattr(mx, dtype), mx.random.key(seed))})
    writer.finish()
    return folder


def write_tokenizer(folder: Path, source: str | Path | None) -> Tokenizer:
    """Puts tokenizer.json and tokenizer_config.json into the folder."""
    if source is None:
        train_tokenizer().save(str(folder / "tokenizer.json"))
    else:
        source = Path(source)
        shutil.copyfile(source / "tokenizer.json" if source.is_dir() else source, folder / "tokenizer.json")
    named = {"image": "<|image|>", "audio": "<|audio|>", "boi": "<|image>", "eoi": "<image|>"}
    named |= {"boa": "<|audio>", "eoa": "<audio|>", "bos": "<bos>", "eos": "<eos>", "pad": "<pad>", "unk": "<unk>"}
    settings = {f"{name}_token": token for name, token in named.items()} | {"tokenizer_class": "GemmaTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


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


def tensor_shapes(config: dict[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Every tensor's name in the module tree, and its shape. The model is built but never evaluated."""
    for name, tensor in tree_flatten(Gemma4Unified(ModelConfig.from_dict(config)).parameters()):
        yield name, tensor.shape


def hub_name(name: str) -> str:
    """What the Hub calls a tensor of the module tree."""
    return "model." + name.replace("language_model.model.", "language_model.", 1)


def random_tensor(name: str, shape: tuple[int, ...], dtype: mx.Dtype, key: mx.array) -> mx.array:
    """Weights that keep activations near 1, so that rounding noise is not amplified from layer to layer."""
    if name.endswith(("q_norm.weight", "k_norm.weight")):
        return normal(shape, dtype, key, mean=0.3, deviation=0.03)
    if name.endswith(("norm.weight", "layernorm.weight", "_ln1.weight", "_ln2.weight")):
        return normal(shape, dtype, key, mean=1, deviation=0.1)
    if name.endswith("layer_scalar"):
        return mx.random.uniform(0.6, 1.0, shape, key=key).astype(dtype)
    if name.endswith("pos_embedding"):
        return normal(shape, dtype, key, deviation=0.3)
    return normal(shape, dtype, key, deviation=0.1 if len(shape) == 1 else shape[-1] ** -0.5)


def normal(shape: tuple[int, ...], dtype: mx.Dtype, key: mx.array, *, mean: float = 0, deviation: float) -> mx.array:
    """Normal numbers, drawn in chunks: the generator needs several times the memory of what it returns."""
    rows = max(1, CHUNK // max(1, math.prod(shape[1:])))
    pieces = []
    for start in range(0, shape[0], rows):
        key, own = mx.random.split(key)
        piece = mx.random.normal((min(rows, shape[0] - start), *shape[1:]), loc=mean, scale=deviation, key=own)
        pieces.append(piece.astype(dtype))
        mx.eval(pieces[-1], key)
    return pieces[0] if len(pieces) == 1 else mx.concatenate(pieces)


def main() -> None:
    """Writes one checkpoint."""
    parser = argparse.ArgumentParser(description="Write a checkpoint with random weights.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--preset", choices=("tiny", "12b"), default="tiny")
    parser.add_argument("--layers", type=int, help="decoder layers (default: 6 for tiny, 48 for 12b)")
    parser.add_argument("--vocab", type=int, help="entries of the vocabulary, at least the tokenizer's")
    parser.add_argument("--dtype", choices=("float32", "float16", "bfloat16"), default="bfloat16")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tokenizer", type=Path, help="a tokenizer.json (default: a small one of its own)")
    args = parser.parse_args()
    vocab = {"vocab_size": args.vocab} if args.vocab else {}
    if args.preset == "12b":
        config = full_size_config(args.layers or 48, args.vocab)
    else:
        config = tiny_config(num_hidden_layers=args.layers or 6, **vocab)
    print(write_checkpoint(args.folder, config, dtype=args.dtype, seed=args.seed, tokenizer=args.tokenizer))


if __name__ == "__main__":
    main()
