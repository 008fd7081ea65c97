"""What a conversion writes, and what it spares."""

import json
import shutil
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx.utils import tree_flatten

from benchmarks.random_checkpoint import full_size_config
from gemma4_mlx.checkpoint import convert as conversion
from gemma4_mlx.checkpoint.convert import ConvertOptions, convert, new_folder
from gemma4_mlx.checkpoint.load import open_model, read_weights
from gemma4_mlx.checkpoint.quantize import Quantization, is_spared
from gemma4_mlx.checkpoint.shards import ShardWriter
from gemma4_mlx.commands.convert import main
from gemma4_mlx.config import ModelConfig
from gemma4_mlx.errors import GemmaError

LAYER = "language_model.model.layers"


def logits(folder: Path) -> np.ndarray:
    model = open_model(folder).prepare()
    return np.array(model.logits(model(model.embed([2, *range(300, 340)])))[0])


def quantized(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Bits, group size and mode of each quantized module."""
    return {
        path: (module.bits, module.group_size, module.mode)
        for path, module in open_model(folder).named_modules()
        if hasattr(module, "bits")
    }


def equal(one: dict[str, mx.array], other: dict[str, mx.array]) -> bool:
    same = one.keys() == other.keys()
    return same and all(one[name].dtype == other[name].dtype and mx.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("mode", "bits", "group", "limit"),
    [
        ("affine", 2, 32, 1.1),
        ("affine", 3, 32, 0.6),
        ("affine", 4, 32, 0.28),
        ("affine", 4, 64, 0.33),
        ("affine", 4, 128, 0.39),
        ("affine", 5, 64, 0.18),
        ("affine", 6, 64, 0.09),
        ("affine", 8, 64, 0.02),
        ("mxfp4", 4, 32, 0.42),
        ("mxfp8", 8, 32, 0.1),
        ("nvfp4", 4, 16, 0.36),
    ],
)
def test_every_mode_loads_and_stays_near_the_floats(
    source: Path, tmp_path: Path, mode: str, bits: int, group: int, limit: float
) -> None:
    options = ["-q", "--q-mode", mode, "--q-bits", str(bits), "--q-group-size", str(group)]
    assert main(["--hf-path", str(source), "--mlx-path", str(tmp_path / "out"), *options]) == 0
    modules = quantized(tmp_path / "out")
    assert set(modules.values()) == {(bits, group, mode)}
    assert "language_model.model.embed_tokens" in modules
    difference = np.abs(logits(tmp_path / "out") - logits(source)).mean()
    assert limit / 3 < difference < limit


def test_quantizing_is_what_mlx_does_to_the_loaded_model(source: Path, tmp_path: Path) -> None:
    convert(source, tmp_path / "out", ConvertOptions(quantization=Quantization.choose(), dtype="bfloat16"))
    model = open_model(source)
    model.set_dtype(mx.bfloat16)
    nn.quantize(model.language_model, 64, 4)
    expected = dict(tree_flatten(model.parameters()))
    assert equal(read_weights(tmp_path / "out"), expected)


def test_the_whole_layout(source: Path, tmp_path: Path) -> None:
    convert(source, tmp_path / "out", ConvertOptions(quantization=Quantization.choose(bits=8)), origin="some/model")
    tensors, metadata = mx.load(str(tmp_path / "out" / "model.safetensors"), return_metadata=True)
    assert metadata == {"format": "mlx"}
    rooms = {name.partition(".")[0] for name in tensors}
    assert rooms == {"language_model", "vision_embedder", "embed_vision", "embed_audio"}
    assert f"{LAYER}.0.self_attn.v_proj.scales" in tensors
    media = [name for name in tensors if not name.startswith("language_model.")]
    assert not [name for name in media if name.endswith(".scales")]
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    assert index["weight_map"] == dict.fromkeys(sorted(tensors), "model.safetensors")
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in tensors.values())
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["quantization"] == config["quantization_config"] == {"group_size": 64, "bits": 8, "mode": "affine"}
    assert config["text_config"] == json.loads((source / "config.json").read_text())["text_config"]
    for name in ("tokenizer.json", "tokenizer_config.json", "processor_config.json", "chat_template.jinja"):
        assert (tmp_path / "out" / name).read_bytes() == (source / name).read_bytes()
    card = (tmp_path / "out" / "README.md").read_text()
    assert "base_model: some/model\n" in card
    assert "license" not in card.split("---")[1]
    assert "--hf-path some/model --mlx-path OUT -q --q-mode affine --q-bits 8 --q-group-size 64" in card


def test_the_card_does_not_tell_where_a_local_source_lay(source: Path, tmp_path: Path) -> None:
    convert(source, tmp_path / "out", ConvertOptions())
    card = (tmp_path / "out" / "README.md").read_text()
    assert str(source.parent) not in card
    assert "Made from source by gemma4-mlx" in card


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_dtype_is_that_of_every_tensor(source: Path, tmp_path: Path, dtype: str) -> None:
    convert(source, tmp_path / "out", ConvertOptions(dtype=dtype))
    assert {str(tensor.dtype) for tensor in read_weights(tmp_path / "out").values()} == {f"mlx.core.{dtype}"}
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == dtype


def test_dequantizing_keeps_exactly_what_quantizing_left(mixed: Path, tmp_path: Path) -> None:
    assert main(["--hf-path", str(mixed), "--mlx-path", str(tmp_path / "plain"), "-d"]) == 0
    packed, plain = read_weights(mixed), read_weights(tmp_path / "plain")
    name = f"{LAYER}.1.self_attn.k_proj"
    parts = (packed[f"{name}.{part}"] for part in ("weight", "scales", "biases"))
    assert mx.array_equal(plain[f"{name}.weight"], mx.dequantize(*parts, group_size=64, bits=8))
    assert not [name for name in plain if name.endswith((".scales", ".biases"))]
    assert "quantization" not in json.loads((tmp_path / "plain" / "config.json").read_text())
    np.testing.assert_allclose(logits(tmp_path / "plain"), logits(mixed), atol=2e-4)


def test_dequantizing_the_floating_point_modes_gives_the_type_of_the_norms(source: Path, tmp_path: Path) -> None:
    quantization = Quantization.choose("mxfp8")
    convert(source, tmp_path / "packed", ConvertOptions(quantization=quantization, dtype="float16"))
    convert(tmp_path / "packed", tmp_path / "plain", ConvertOptions(dequantize=True))
    assert {tensor.dtype for tensor in read_weights(tmp_path / "plain").values()} == {mx.float16}


@pytest.mark.parametrize("model", ["model.", ""])
def test_all_dialects_give_the_same_checkpoint(source: Path, tmp_path: Path, model: str) -> None:
    exported = Path(shutil.copytree(source, tmp_path / "exported"))
    tensors = mx.load(str(source / "model.safetensors"))
    names = {
        "model.language_model.": f"{model}language_model.",
        "model.vision_embedder.": f"{model}embed_vision.",
        "model.embed_vision.embedding": f"{model}embed_vision.multimodal_embedder.embedding",
    }
    for old, new in names.items():
        tensors = {name.replace(old, new, 1) if name.startswith(old) else name: x for name, x in tensors.items()}
    mx.eval(tensors)
    mx.save_safetensors(str(exported / "model.safetensors"), tensors)
    (exported / "model.safetensors.index.json").unlink()
    quantization = Quantization.choose()
    convert(exported, tmp_path / "one", ConvertOptions(quantization=quantization))
    convert(source, tmp_path / "two", ConvertOptions())  # Hub names in, MLX names out
    convert(tmp_path / "two", tmp_path / "three", ConvertOptions(quantization=quantization))
    assert equal(read_weights(tmp_path / "one"), read_weights(tmp_path / "three"))
    assert np.array_equal(logits(tmp_path / "two"), logits(source))


def test_a_recipe_spares_the_output_head_and_the_values_of_full_layers(mixed: Path) -> None:
    modules = quantized(mixed)
    assert {path for path, settings in modules.items() if settings == (8, 64, "affine")} == {
        "language_model.model.embed_tokens",
        f"{LAYER}.1.self_attn.k_proj",
        f"{LAYER}.2.mlp.down_proj",
        f"{LAYER}.2.self_attn.v_proj",
    }
    assert set(modules.values()) == {(4, 64, "affine"), (8, 64, "affine")}
    config = json.loads((mixed / "config.json").read_text())["quantization"]
    assert config["language_model.model.embed_tokens"] == {"group_size": 64, "bits": 8, "mode": "affine"}
    assert len(config) == 3 + 4


def test_what_a_recipe_spares_in_the_published_model() -> None:
    config = ModelConfig.from_dict(full_size_config())

    def layers(kind: str) -> list[int]:
        return [layer for layer in range(48) if is_spared(f"{LAYER}.{layer}.{kind}", config)]

    assert layers("self_attn.k_proj") == [5, 11, 17, 23, 29, 35, 41, 47]
    first_and_last, thirds = [0, 1, 2, 3, 4, 5], [8, 11, 14, 17, 20, 23, 26, 29, 32, 35, 38, 41]
    assert layers("mlp.down_proj") == [*first_and_last, *thirds, 42, 43, 44, 45, 46, 47]
    assert layers("self_attn.q_proj") == layers("mlp.gate_proj") == []


def test_overrides_of_a_source_are_honoured(source: Path, tmp_path: Path) -> None:
    """One module of another mode and group size, and one left plain, as other tools write them."""
    convert(source, tmp_path / "four", ConvertOptions(quantization=Quantization.choose()))
    other, plain = f"{LAYER}.0.mlp.up_proj", f"{LAYER}.0.mlp.gate_proj"
    tensors, floats = read_weights(tmp_path / "four"), read_weights(source)
    for name in [name for name in tensors if name.startswith((other, plain))]:
        del tensors[name]
    packed = mx.quantize(floats[f"{other}.weight"], mode="mxfp8")
    tensors |= {
        f"{other}.weight": packed[0],
        f"{other}.scales": packed[1],
        f"{plain}.weight": floats[f"{plain}.weight"],
    }
    mx.eval(tensors)
    mx.save_safetensors(str(tmp_path / "four" / "model.safetensors"), tensors)
    config = json.loads((tmp_path / "four" / "config.json").read_text())
    config["quantization"] |= {other: {"group_size": 32, "bits": 8, "mode": "mxfp8"}, plain: False}
    (tmp_path / "four" / "config.json").write_text(json.dumps(config))
    convert(tmp_path / "four", tmp_path / "plain", ConvertOptions(dequantize=True))
    read = read_weights(tmp_path / "plain")
    assert mx.array_equal(read[f"{plain}.weight"], floats[f"{plain}.weight"])
    expected = mx.dequantize(packed[0], packed[1], mode="mxfp8", dtype=mx.float32)
    assert mx.array_equal(read[f"{other}.weight"], expected)
    np.testing.assert_allclose(logits(tmp_path / "plain"), logits(tmp_path / "four"), atol=2e-4)


def test_text_only_checkpoints_keep_configurations_of_other_inputs(source: Path, tmp_path: Path) -> None:
    text_only = Path(shutil.copytree(source, tmp_path / "text"))
    tensors = {name: x for name, x in read_weights(source).items() if name.startswith("language_model.")}
    mx.eval(tensors)
    mx.save_safetensors(str(text_only / "model.safetensors"), tensors)
    (text_only / "model.safetensors.index.json").unlink()
    convert(text_only, tmp_path / "both", ConvertOptions())
    config = json.loads((source / "config.json").read_text())
    del config["vision_config"]
    (text_only / "config.json").write_text(json.dumps(config))
    convert(text_only, tmp_path / "audio", ConvertOptions())
    assert np.array_equal(logits(tmp_path / "both"), logits(source))
    assert np.array_equal(logits(tmp_path / "audio"), logits(source))


def test_shards_stay_below_their_size_and_are_named_when_all_are_there(tmp_path: Path) -> None:
    writer = ShardWriter(tmp_path, shard_bytes=1000)
    for index in range(5):
        writer.add({f"t{index}": mx.full((100,), index, dtype=mx.float32)})
    writer.add({"large": mx.zeros((1000,), dtype=mx.float32)})
    assert not list(tmp_path.glob("model*"))
    writer.finish()
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    files = {name: sorted(mx.load(str(tmp_path / name))) for name in set(index["weight_map"].values())}
    assert files == {
        "model-00001-of-00004.safetensors": ["t0", "t1"],
        "model-00002-of-00004.safetensors": ["t2", "t3"],
        "model-00003-of-00004.safetensors": ["t4"],
        "model-00004-of-00004.safetensors": ["large"],
    }
    assert index["metadata"] == {"total_size": 6000}
    assert mx.array_equal(mx.load(str(tmp_path / index["weight_map"]["t3"]))["t3"], mx.full((100,), 3.0))


def test_many_shards_load_as_one(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversion, "ShardWriter", lambda folder: ShardWriter(folder, shard_bytes=100_000))
    convert(source, tmp_path / "out", ConvertOptions())
    assert len(list((tmp_path / "out").glob("model-*.safetensors"))) > 5
    assert np.array_equal(logits(tmp_path / "out"), logits(source))


def test_an_empty_folder_is_a_target(source: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    convert(source, tmp_path / "out", ConvertOptions())
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert np.array_equal(logits(tmp_path / "out"), logits(source))


def test_a_planted_link_or_folder_is_not_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".new.unfinished").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(GemmaError, match=r"\.new\.unfinished: is a link"), new_folder(tmp_path / "new"):
        pass
    (tmp_path / ".new.unfinished").unlink()
    (tmp_path / ".new.unfinished").mkdir()
    monkeypatch.setattr("os.geteuid", lambda: 12345)
    with pytest.raises(GemmaError, match=r"\.new\.unfinished: belongs to another user"), new_folder(tmp_path / "new"):
        pass
    assert not list((tmp_path / "elsewhere").iterdir())
