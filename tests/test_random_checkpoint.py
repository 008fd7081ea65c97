"""Random checkpoints are what a conversion would have written, and run."""

import json
import sys
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from benchmarks import random_checkpoint
from benchmarks.random_checkpoint import random_packed, write_checkpoint
from benchmarks.shapes import full_size_config, tiny_config
from gemma4_mlx import api
from gemma4_mlx.checkpoint.convert import ConvertOptions, convert
from gemma4_mlx.checkpoint.load import load_model, read_weights
from gemma4_mlx.checkpoint.quantize import Quantization
from gemma4_mlx.config import ModelConfig
from gemma4_mlx.measure.shapes import published_config

HEAD = "language_model.model.embed_tokens"
NARROW = {"hidden_size": 128, "intermediate_size": 192, "vocab_size": 1000}


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["random_checkpoint", *arguments])
    random_checkpoint.main()


def layout(folder: Path) -> dict[str, tuple[tuple[int, ...], mx.Dtype]]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in read_weights(folder).items()}


@pytest.mark.parametrize("bits", [4, 6, 8])
def test_quantized_ones_have_the_layout_that_a_conversion_writes(tmp_path: Path, bits: int) -> None:
    plain = write_checkpoint(tmp_path / "plain", tiny_config(**NARROW), dtype="bfloat16")
    convert(plain, tmp_path / "converted", ConvertOptions(quantization=Quantization.choose(bits=bits)))
    written = write_checkpoint(tmp_path / "written", tiny_config(**NARROW), dtype="bfloat16", bits=bits)
    assert layout(written) == layout(tmp_path / "converted")
    assert layout(written)[f"{HEAD}.weight"] == ((1000, 128 * bits // 32), mx.uint32)
    stored = mx.load(str(written / "model.safetensors"))
    assert stored.keys() == mx.load(str(tmp_path / "converted" / "model.safetensors")).keys()
    configs = [json.loads((folder / "config.json").read_text()) for folder in (written, tmp_path / "converted")]
    assert configs[0] == configs[1]
    assert configs[0]["quantization"] == {"group_size": 64, "bits": bits, "mode": "affine"}


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 8])
def test_packed_weights_are_centred_and_as_wide_as_plain_ones(bits: int) -> None:
    settings = {"group_size": 64, "bits": bits, "mode": "affine"}
    packed = random_packed("p", (256, 2496), settings, mx.bfloat16, seed=3)
    parts = (packed[f"p.{part}"] for part in ("weight", "scales", "biases"))
    weights = np.array(mx.dequantize(*parts, group_size=64, bits=bits).astype(mx.float32))
    assert weights.shape == (256, 2496)
    assert weights.std() == pytest.approx(0.02, rel=0.02)
    assert abs(weights.mean()) < 2e-4
    one, zero = mx.ones((256, 39)), mx.zeros((256, 39))
    levels = mx.dequantize(packed["p.weight"], one, zero, group_size=64, bits=bits)
    assert np.unique(np.array(levels)).tolist() == list(range(2**bits))


@pytest.mark.parametrize("bits", [4, 6, 8])
def test_hidden_states_of_many_quantized_layers_stay_near_one(tmp_path: Path, bits: int) -> None:
    config = tiny_config(**NARROW, num_hidden_layers=48)
    model = load_model(write_checkpoint(tmp_path / "deep", config, dtype="bfloat16", bits=bits))
    hidden = model(model.embed(list(range(300, 340))))
    logits = np.array(model.logits(hidden))
    assert len(model.language_model.model.layers) == 48
    assert 0.5 < np.array(hidden.astype(mx.float32)).std() < 2
    assert np.isfinite(logits).all()
    assert 0.3 < logits.std() < 3


def test_ids_that_the_tokenizer_lacks_do_not_stop_an_answer(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "large", tiny_config(vocab_size=20000), dtype="bfloat16", bits=4)
    model, processor = api.load(folder)
    replies = list(api.stream_generate(model, processor, "Hello", max_tokens=8, temperature=0))
    assert replies[-1].generation_tokens == 8
    assert max(reply.token for reply in replies) >= processor.tokenizer._backend.get_vocab_size()


def test_the_command_changes_the_shape_of_a_preset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = ["--layers", "7", "--hidden", "64", "--mlp", "128", "--heads", "4", "--head-dim", "16", "--kv-heads", "2"]
    sizes += ["--global-head-dim", "32", "--global-kv-heads", "2", "--window", "8", "--positions", "500"]
    run(monkeypatch, str(tmp_path / "out"), "--preset", "12b-4bit", *sizes, "--vocab", "900")
    model = load_model(tmp_path / "out")
    text = model.config.text
    assert (text.hidden_size, text.intermediate_size, text.num_attention_heads) == (64, 128, 4)
    assert (text.vocab_size, text.max_position_embeddings) == (900, 500)
    assert [(layer.window, layer.head_dim, layer.num_key_value_heads) for layer in text.layers] == [
        *[(8, 16, 2)] * 5,
        (None, 32, 2),
        (8, 16, 2),
    ]
    assert model.config.vision is not None
    assert model.config.vision.mm_embed_dim == 64
    assert model.config.quantization == {"group_size": 64, "bits": 4, "mode": "affine"}


def test_the_command_takes_other_bits_than_the_presets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = ["--layers", "1", "--hidden", "64", "--mlp", "64", "--heads", "8", "--vocab", "800"]
    run(monkeypatch, str(tmp_path / "six"), "--preset", "12b-4bit", "--bits", "6", *small)
    run(monkeypatch, str(tmp_path / "plain"), "--preset", "12b", *small)
    six, plain = ModelConfig.from_folder(tmp_path / "six"), ModelConfig.from_folder(tmp_path / "plain")
    assert six.quantization == {"group_size": 64, "bits": 6, "mode": "affine"}
    assert plain.quantization is None
    assert layout(tmp_path / "six")[f"{HEAD}.weight"] == ((800, 12), mx.uint32)
    assert layout(tmp_path / "plain")[f"{HEAD}.weight"] == ((800, 64), mx.bfloat16)


def test_one_seed_gives_one_checkpoint(tmp_path: Path) -> None:
    def weights(name: str, seed: int) -> bytes:
        folder = write_checkpoint(tmp_path / name, tiny_config(num_hidden_layers=1), bits=8, seed=seed)
        return (folder / "model.safetensors").read_bytes()

    first = weights("first", 1)
    assert weights("again", 1) == first
    assert weights("other", 500) != first


def test_full_size_is_the_published_model() -> None:
    text = ModelConfig.from_dict(full_size_config()).text
    assert (text.hidden_size, text.intermediate_size, text.vocab_size) == (3840, 15360, 262144)
    assert (text.num_attention_heads, text.max_position_embeddings, len(text.layers)) == (16, 262144, 48)
    sliding, full = (1024, 256, 8), (None, 512, 1)
    assert [(layer.window, layer.head_dim, layer.num_key_value_heads) for layer in text.layers] == [
        *[sliding] * 5,
        full,
    ] * 8


def test_both_ways_of_writing_the_published_shapes_agree() -> None:
    written, computed = ModelConfig.from_dict(full_size_config()), published_config()
    assert (written.text, written.vision, written.audio) == (computed.text, computed.vision, computed.audio)
