"""What mlx-lm and mlx-vlm make of our checkpoints, and we of theirs. Each part runs where its package is installed."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from benchmarks.random_checkpoint import tiny_config, write_checkpoint
from gemma4_mlx.checkpoint.convert import ConvertOptions, convert
from gemma4_mlx.checkpoint.load import load_model
from gemma4_mlx.checkpoint.quantize import Quantization
from gemma4_mlx.config import TokenIds
from gemma4_mlx.media.images import Patches
from gemma4_mlx.prompt.prompt import Span

IDS = [2, *range(300, 340)]
MODEL_MODULES = {"mlx_lm": "mlx_lm.models.gemma4", "mlx_vlm": "mlx_vlm.models.gemma4_unified"}
OURS: dict[str, dict[str, Any] | None] = {
    "plain": None,
    "affine 3": {"bits": 3},
    "affine 4": {"bits": 4},
    "affine 8 in 32s": {"bits": 8, "group_size": 32},
    "mixed": {"recipe": "mixed_3_6"},
    "mxfp4": {"mode": "mxfp4"},
    "mxfp8": {"mode": "mxfp8"},
    "nvfp4": {"mode": "nvfp4"},
}
THEIRS: dict[str, dict[str, Any]] = {
    "plain": {},
    "affine 4": {"quantize": True, "q_bits": 4, "q_group_size": 64},
    "affine 6 in 32s": {"quantize": True, "q_bits": 6, "q_group_size": 32},
    "mixed": {"quantize": True, "q_bits": 4, "q_group_size": 64, "quant_predicate": "mixed_3_6"},
    "mxfp4": {"quantize": True, "q_bits": 4, "q_group_size": 32, "q_mode": "mxfp4"},
    "mxfp8": {"quantize": True, "q_bits": 8, "q_group_size": 32, "q_mode": "mxfp8"},
    "nvfp4": {"quantize": True, "q_bits": 4, "q_group_size": 16, "q_mode": "nvfp4"},
}


@pytest.fixture(params=MODEL_MODULES)
def package(request: pytest.FixtureRequest) -> str:
    """A package that is installed and has this model."""
    name: str = request.param
    if importlib.util.find_spec(name) is None or importlib.util.find_spec(MODEL_MODULES[name]) is None:
        pytest.skip(f"{name} with Gemma 4 is not installed")
    return name


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = tiny_config()
    # Both packages take the vocabulary's size from the top level, where published files leave it to their default.
    config["vocab_size"] = config["text_config"]["vocab_size"]
    return write_checkpoint(tmp_path_factory.mktemp("interop") / "source", config)


def our_logits(folder: Path) -> np.ndarray:
    model = load_model(folder)
    return np.array(model.logits(model(model.embed(IDS)))[0])


def their_logits(package: str, folder: Path) -> np.ndarray:
    ids = mx.array([IDS])
    if package == "mlx_lm":
        from mlx_lm.utils import load_model as load

        return np.array(load(folder)[0](ids)[0].astype(mx.float32))
    from mlx_vlm.utils import load_model as load_multimodal

    return np.array(load_multimodal(folder)(ids).logits[0].astype(mx.float32))


def their_convert(package: str) -> Callable[..., None]:
    if package == "mlx_lm":
        from mlx_lm.convert import convert as mlx_lm_convert

        return mlx_lm_convert
    from mlx_vlm.convert import convert as mlx_vlm_convert

    return mlx_vlm_convert


@pytest.mark.parametrize("choice", OURS.values(), ids=OURS)
def test_they_compute_the_same_from_what_we_write(
    package: str, source: Path, tmp_path: Path, choice: dict[str, Any] | None
) -> None:
    quantization = None if choice is None else Quantization.choose(**choice)
    convert(source, tmp_path / "out", ConvertOptions(quantization=quantization))
    np.testing.assert_allclose(their_logits(package, tmp_path / "out"), our_logits(tmp_path / "out"), atol=5e-5)


@pytest.mark.parametrize("options", THEIRS.values(), ids=THEIRS)
def test_we_compute_the_same_from_what_they_write(
    package: str, source: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    their_convert(package)(str(source), str(tmp_path / "out"), **options)
    assert ("quantization" in json.loads((tmp_path / "out" / "config.json").read_text())) == bool(options)
    np.testing.assert_allclose(our_logits(tmp_path / "out"), their_logits(package, tmp_path / "out"), atol=5e-5)


def test_mlx_vlm_projects_media_of_our_checkpoints_alike(source: Path, tmp_path: Path) -> None:
    """Embeddings only: behind them its masks are not the intended ones."""
    if importlib.util.find_spec("mlx_vlm") is None:
        pytest.skip("mlx_vlm is not installed")
    from mlx_vlm.utils import load_model as load_multimodal

    convert(source, tmp_path / "out", ConvertOptions(quantization=Quantization.choose()))
    ours, theirs = load_model(tmp_path / "out"), load_multimodal(tmp_path / "out")
    rng = np.random.default_rng(0)
    pixels = rng.random((6, 6912), dtype=np.float32)
    positions = np.array([(x, y) for y in range(2) for x in range(3)], dtype=np.int32)
    frames = rng.uniform(-1, 1, (4, 640)).astype(np.float32)
    tokens: TokenIds = ours.config.tokens
    ids = [2, *[tokens.image] * 6, 300, *[tokens.audio] * 4, 301]
    spans = [Span("image", 1, Patches(pixels, positions)), Span("audio", 8, frames)]
    read = theirs.get_input_embeddings(
        mx.array([ids]),
        pixel_values=mx.array(pixels)[None],
        image_position_ids=mx.array(positions)[None],
        input_features=mx.array(frames)[None],
    )
    np.testing.assert_allclose(np.array(ours.embed(ids, spans)[0]), np.array(read.inputs_embeds[0]), atol=1e-4)
