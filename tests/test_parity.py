"""The model, its engine and the processor against transformers' outputs: see golden/README.md."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import parity
import pytest
from goldens import GOLDEN, SHARED, published
from safetensors.numpy import load_file

from benchmarks.random_checkpoint import hub_name, tensor_shapes
from gemma4_mlx.media.video import load_video
from gemma4_mlx.model.drafter import Drafter
from gemma4_mlx.model.unified import Gemma4Unified

ROOT = Path(__file__).resolve().parent.parent
CASES: dict[str, list[str]] = json.loads((GOLDEN / "outputs.json").read_text())
FACTS: dict[str, Any] = json.loads((GOLDEN / "prompts.json").read_text())
OUTPUTS, PROMPTS = load_file(GOLDEN / "outputs.safetensors"), load_file(GOLDEN / "prompts.safetensors")

TOLERANCE = 3e-4  # of logits that reach 5; without blocks of vision they are 0.5 off and more
LEVELS, MEAN_LEVEL = 12, 0.1  # of 255: Pillow and torchvision round differently at sharp edges


@pytest.fixture(scope="module")
def model() -> Gemma4Unified:
    return parity.load_model(str(GOLDEN / "model"))


@pytest.fixture(scope="module")
def drafter() -> Drafter:
    return parity.load_drafter(str(GOLDEN / "drafter"))


def inputs(case: str) -> dict[str, np.ndarray]:
    """A case in the layout of a reference processor: media padded, one row each."""
    found = {"input_ids": OUTPUTS[f"{case}.input_ids"][None]}
    for kind, pixels, positions in (
        ("image", "pixel_values", "image_position_ids"),
        ("video", "pixel_values_videos", "video_position_ids"),
    ):
        if used := media(case, kind):
            found[pixels] = padded([part["pixels"] / np.float32(255) for part in used], 0)
            found[positions] = padded([part["positions"] for part in used], -1)
    if used := media(case, "audio"):
        found["input_features"] = padded([part["frames"] / np.float32(32768) for part in used], 0)
        found["input_features_mask"] = padded([np.ones(len(part["frames"]), bool) for part in used], 0)
    return found


def media(case: str, kind: str) -> list[dict[str, np.ndarray]]:
    """Arrays of a case's media of one kind, in their order."""
    names = [name for piece, name in map(str.split, CASES[case]) if piece == kind]
    starts = [f"media.{name}." for name in names]
    return [
        {key.removeprefix(start): array for key, array in OUTPUTS.items() if key.startswith(start)} for start in starts
    ]


def padded(arrays: Sequence[np.ndarray], value: float) -> np.ndarray:
    length = max(map(len, arrays))
    widths = [((0, length - len(array)), *((0, 0),) * (array.ndim - 1)) for array in arrays]
    return np.stack([np.pad(a, width, constant_values=value) for a, width in zip(arrays, widths, strict=True)])


@pytest.mark.parametrize("case", CASES)
def test_logits_are_the_references(model: Gemma4Unified, case: str) -> None:
    """In one pass, in chunks, and in two turns with the cut before the first medium."""
    given, want = inputs(case), OUTPUTS[f"{case}.logits"]
    ids = given["input_ids"][0].tolist()
    placeholders = {model.config.tokens.image, model.config.tokens.video, model.config.tokens.audio}
    first = next((at for at, token in enumerate(ids) if token in placeholders), len(ids) // 2)
    np.testing.assert_allclose(parity.forward(model, given), want, atol=TOLERANCE)
    for chunk in (7, 16, 33):
        np.testing.assert_allclose(parity.prefill(model, given, chunk), want[-1], atol=TOLERANCE)
    for cut in {first, len(ids) - 5} - {0}:
        np.testing.assert_allclose(parity.prefill_turns(model, given, cut), want[-1], atol=TOLERANCE)


@pytest.mark.parametrize("case", CASES)
def test_greedy_replies_are_the_references(model: Gemma4Unified, case: str) -> None:
    want = OUTPUTS[f"{case}.greedy"].tolist()
    assert parity.generate(model, inputs(case), len(want), 16) == want


@pytest.mark.parametrize("case", ["text", "mixed"])
def test_drafts_are_the_references(model: Gemma4Unified, drafter: Drafter, case: str) -> None:
    want, first = OUTPUTS[f"{case}.drafts"], int(OUTPUTS[f"{case}.greedy"][0])
    np.testing.assert_allclose(parity.draft(model, drafter, inputs(case), first, len(want)), want, atol=TOLERANCE)


@pytest.mark.parametrize("key", FACTS["patches"])
def test_patches_are_the_reference_processors(key: str) -> None:
    if key == "film.mp4":
        frames = load_video(str(GOLDEN / "media" / key), max_frames=32, budget=70).frames
        pixels, positions = (np.concatenate([getattr(f, name) for f in frames]) for name in ("pixels", "positions"))
    else:
        name, budget = key.rsplit(".", 1)
        shares, positions = parity.patches(str(GOLDEN / "media" / name), int(budget))
        pixels = shares * 255
    assert len(pixels) == FACTS["patches"][key]["count"]
    assert np.array_equal(positions, PROMPTS[f"{key}.positions"])
    kept = pixels.reshape(-1)[:: FACTS["patches"][key]["every"]].astype(np.float32)
    difference = np.abs(kept - PROMPTS[f"{key}.pixels"])
    assert difference.max() <= LEVELS
    assert difference.mean() <= MEAN_LEVEL


@pytest.mark.parametrize("name", FACTS["prompts"])
def test_prompt_ids_are_the_reference_processors(name: str) -> None:
    said = FACTS["prompts"][name]
    images, audio, videos = (
        [str(GOLDEN / "media" / file) for file in said.get(kind, ())] for kind in ("images", "audio", "videos")
    )
    options = said.get("tools"), said.get("enable_thinking", False), videos
    ids = parity.encode(str(GOLDEN / "model"), said["messages"], images, audio, *options)
    assert ids == PROMPTS[f"prompt.{name}"].tolist()


def test_tensors_of_the_12b_have_the_published_names_and_shapes() -> None:
    """677 tensors, 11.96 billion numbers."""
    ours = {hub_name(name): list(shape) for name, shape in tensor_shapes(published()["config"])}
    assert ours == published()["tensors"]
    assert len(ours) == 677


def test_checks_beside_the_checkout_hold() -> None:
    """Larger fixtures of a developer's machine, through the same adapter; none of them is needed."""
    for check in sorted(SHARED.glob("p*/check.py")):
        result = subprocess.run([sys.executable, check], cwd=ROOT, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
