"""Checkpoint folders that load, in every dialect, and those that do not."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from gemma4_mlx.checkpoint.hub import resolve
from gemma4_mlx.checkpoint.load import load_model
from gemma4_mlx.checkpoint.names import module_name
from gemma4_mlx.errors import GemmaError

HUB = "model.language_model.layers.0.self_attn.q_proj.weight"


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_folder, tmp_path / "copy"))


def edit_config(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


def edit_weights(folder: Path, change: Callable[[dict[str, mx.array]], Any]) -> None:
    path = folder / "model.safetensors"
    weights = mx.load(str(path))
    change(weights)
    mx.eval(weights)
    mx.save_safetensors(str(path), weights)


def first_logits(folder: Path) -> np.ndarray:
    model = load_model(folder)
    return np.array(model.logits(model(model.embed([2, 300, 301, 302])))[0])


@pytest.mark.parametrize(
    ("name", "own"),
    [
        (HUB, "language_model.model.layers.0.self_attn.q_proj.weight"),
        ("language_model.layers.0.mlp.up_proj.weight", "language_model.model.layers.0.mlp.up_proj.weight"),
        ("language_model.model.embed_tokens.scales", "language_model.model.embed_tokens.scales"),
        ("model.vision_embedder.patch_dense.bias", "vision_embedder.patch_dense.bias"),
        ("embed_vision.patch_dense.biases", "vision_embedder.patch_dense.biases"),
        ("model.embed_vision.pos_embedding", "vision_embedder.pos_embedding"),
        (
            "model.embed_vision.multimodal_embedder.embedding_projection.weight",
            "embed_vision.embedding_projection.weight",
        ),
        ("embed_vision.embedding_projection.weight", "embed_vision.embedding_projection.weight"),
        ("model.embed_audio.embedding_projection.weight", "embed_audio.embedding_projection.weight"),
    ],
)
def test_names_of_all_dialects(name: str, own: str) -> None:
    assert module_name(name) == own


def test_shards_and_one_file_are_the_same(folder: Path) -> None:
    before = first_logits(folder)
    weights = dict(mx.load(str(folder / "model.safetensors")))
    mx.eval(weights)
    names = sorted(weights)
    parts = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for part, held in parts.items():
        mx.save_safetensors(str(folder / part), {name: weights[name] for name in held})
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {name: part for part, held in parts.items() for name in held}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    np.testing.assert_array_equal(first_logits(folder), before)


def test_vision_and_audio_may_be_absent(folder: Path) -> None:
    before = first_logits(folder)
    edit_config(folder, lambda config: config.update(vision_config=None, audio_config=None))
    edit_weights(
        folder,
        lambda weights: [weights.pop(name) for name in list(weights) if not name.startswith("model.language_model")],
    )
    np.testing.assert_array_equal(first_logits(folder), before)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            lambda weights: weights.pop(HUB),
            "missing: language_model.model.layers.0.self_attn.q_proj.weight",
        ),
        (lambda weights: weights.update({"model.vision_tower.x": mx.zeros(1)}), "unknown: vision_tower.x"),
        (
            lambda weights: weights.update({HUB: mx.zeros((3, 4))}),
            "language_model.model.layers.0.self_attn.q_proj.weight is (3, 4), expected (64, 64)",
        ),
        (
            lambda weights: weights.update({HUB: mx.zeros((64, 64), mx.int32)}),
            "language_model.model.layers.0.self_attn.q_proj.weight is mlx.core.int32, expected mlx.core.float32",
        ),
    ],
)
def test_bad_weights(folder: Path, change: Callable[[dict[str, mx.array]], Any], line: str) -> None:
    edit_weights(folder, change)
    with pytest.raises(GemmaError) as error:
        load_model(folder)
    assert str(error.value) == f"the weights do not match config.json: {line}"


@pytest.mark.parametrize(
    ("break_it", "line"),
    [
        (lambda folder: (folder / "config.json").unlink(), "no config.json there"),
        (lambda folder: (folder / "config.json").write_text("{"), "not a readable JSON file"),
        (lambda folder: (folder / "config.json").write_text("[]"), "a JSON object is expected, not list"),
        (lambda folder: (folder / "config.json").write_text("[" * 100_000), "not a readable JSON file"),
        (lambda folder: [path.unlink() for path in folder.glob("model*")], "no model*.safetensors there"),
        (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors missing"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"12345678{}"), "not a whole safetensors file"),
        (
            lambda folder: (folder / "model.safetensors").write_bytes(
                (folder / "model.safetensors").read_bytes()[:-1000]
            ),
            "not a whole safetensors file",
        ),
        (
            lambda folder: (folder / "model.safetensors.index.json").write_text(
                '{"weight_map": {"a": "../b.safetensors"}}'
            ),
            "weight_map must map tensors to file names in the same folder",
        ),
        (
            lambda folder: (folder / "model.safetensors.index.json").write_text(
                '{"weight_map": {"a": "b.safetensors"}}'
            ),
            "b.safetensors missing; download or convert the checkpoint again",
        ),
    ],
)
def test_broken_folders(folder: Path, break_it: Callable[[Path], Any], line: str) -> None:
    break_it(folder)
    with pytest.raises(GemmaError) as error:
        mx.eval(load_model(folder).parameters())
    assert line in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("no/such/folder/here", "no such folder, nor the name of a Hub repository (owner/name)"),
        ("justaname", "no such folder, nor the name of a Hub repository (owner/name)"),
        ("../up", "no such folder, nor the name of a Hub repository (owner/name)"),
        (
            "owner/not-downloaded",
            "it is not in the cache; download it once with a network, or give a folder",
        ),
    ],
)
def test_names_that_resolve_to_nothing(name: str, line: str) -> None:
    with pytest.raises(GemmaError) as error:
        resolve(name, offline=True)
    assert str(error.value) == f"{name}: {line}"


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("GatedRepoError", "access must be granted on its Hub page; then set HF_TOKEN"),
        ("RepositoryNotFoundError", "no such folder, and no such repository on the Hub (or HF_TOKEN is needed)"),
        ("RevisionNotFoundError", "no revision 'v9'"),
        (
            "LocalEntryNotFoundError",
            "it is not in the cache and the Hub can't be reached; download it once with a network, or give a folder",
        ),
        ("OSError", "download failed (no space left); run it again to resume"),
    ],
)
def test_failed_downloads(kind: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub
    from huggingface_hub import errors

    response = SimpleNamespace(headers={}, request=None)

    def fail(*args: Any, **options: Any) -> None:
        assert options["allow_patterns"] == ["*.json", "*.jinja", "model*.safetensors"]
        if kind in ("OSError", "LocalEntryNotFoundError"):
            raise getattr(errors, kind, OSError)("no space\nleft")
        raise getattr(errors, kind)("refused", response=response)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(GemmaError) as error:
        resolve("owner/name", revision="v9")
    assert str(error.value) == f"owner/name: {line}"


def test_nano_is_built_in() -> None:
    assert (resolve("nano") / "config.json").is_file()
