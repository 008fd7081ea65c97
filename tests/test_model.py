"""The model and its engine against a plain float64 computation, in every combination of media, chunks and turns."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
from plain_decode import decode
from reference import Reference

from benchmarks.random_checkpoint import tiny_config, write_checkpoint
from gemma4_mlx.checkpoint.load import load_model
from gemma4_mlx.engine.prefill import prefill
from gemma4_mlx.media.images import Patches
from gemma4_mlx.model import full_attention, masks
from gemma4_mlx.model.unified import Gemma4Unified
from gemma4_mlx.prompt.prompt import Prompt, Span

TOLERANCE = 1e-4  # of logits that reach about 5; float32 rounding stays below 2e-5

SHAPES = {
    "published pattern": {},
    "narrow window": {"sliding_window": 5},
    "full layers first and last": {
        "layer_types": ["full_attention", "sliding_attention", "sliding_attention", "full_attention"]
    },
    "sliding layer last": {
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        "num_hidden_layers": 3,
        "sliding_window": 6,
    },
    "two global heads": {"num_global_key_value_heads": 2, "global_head_dim": 32},
}
CASES = ("text", "image", "image at the start", "two images touching", "audio", "video and image", "everything")


@dataclass
class Setup:
    model: Gemma4Unified
    reference: Reference
    logits: dict[tuple[int, ...], np.ndarray] = field(default_factory=dict)
    """By token ids, as several tests ask for the same; a case's media are always the same."""


@pytest.fixture(scope="module", params=SHAPES)
def setup(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Setup:
    folder = tmp_path_factory.mktemp("model") / "checkpoint"
    write_checkpoint(folder, tiny_config(**SHAPES[request.param]), seed=len(request.param))
    config = json.loads((folder / "config.json").read_text())
    return Setup(load_model(folder), Reference(str(folder / "model.safetensors"), config))


def make_prompt(model: Gemma4Unified, case: str) -> Prompt:
    """Ids and random features of one case."""
    rng = np.random.default_rng(len(case))
    tokens = model.config.tokens
    ids: list[int] = []
    spans: list[Span] = []

    def text(count: int) -> None:
        ids.extend(rng.integers(300, 500, count).tolist())

    def picture(columns: int, rows: int, kind: str = "image") -> None:
        y, x = np.divmod(np.arange(columns * rows), columns)
        pixels = rng.integers(0, 256, (columns * rows, 6912)).astype(np.uint8)
        spans.append(Span(kind, len(ids), Patches(pixels, np.stack([x, y], axis=1).astype(np.int32))))
        ids.extend([getattr(tokens, kind)] * (columns * rows))

    def sound(frames: int) -> None:
        spans.append(Span("audio", len(ids), rng.normal(0, 0.1, (frames, 640)).astype(np.float32)))
        ids.extend([tokens.audio] * frames)

    if case != "image at the start":
        text(7)
    if case in ("image", "image at the start", "everything"):
        picture(4, 6)
        text(5)
    if case == "two images touching":
        picture(3, 3)
        picture(2, 5)
    if case in ("audio", "everything"):
        sound(9)
        text(2)
        sound(4)
    if case in ("video and image", "everything"):
        for _ in range(3):
            picture(2, 4, "video")
            text(3)
        picture(5, 4)
    text(28)
    return Prompt(ids, spans)


def expected(setup: Setup, prompt: Prompt) -> np.ndarray:
    ids = tuple(prompt.ids)
    if ids not in setup.logits:
        setup.logits[ids] = compute(setup, prompt)
    return setup.logits[ids]


def compute(setup: Setup, prompt: Prompt) -> np.ndarray:
    media = {}
    for span in prompt.spans:
        if isinstance(span.features, Patches):
            media[span.start] = setup.reference.image(span.features.pixels / 255.0, span.features.positions)
        else:
            media[span.start] = setup.reference.audio(span.features)
    return setup.reference.logits(list(prompt.ids), media)


@pytest.mark.parametrize("case", CASES)
def test_logits_are_the_intended_ones(setup: Setup, case: str) -> None:
    model = setup.model
    prompt = make_prompt(model, case)
    want = expected(setup, prompt)

    one_pass = model.logits(model(model.embed(prompt.ids, prompt.spans), None, prompt.vision_blocks()))
    np.testing.assert_allclose(np.array(one_pass[0]), want, atol=TOLERANCE)

    for chunk in (1, 7, 16, 512):
        caches = model.make_caches(len(prompt.ids))
        last = prefill(model, prompt, caches, chunk)
        np.testing.assert_allclose(np.array(last[0]), want[-1], atol=TOLERANCE, err_msg=f"chunks of {chunk}")


@pytest.mark.parametrize("chunk", [7, 512])
@pytest.mark.parametrize("case", CASES)
def test_attention_in_small_tiles_is_exact(
    setup: Setup, case: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = make_prompt(setup.model, case)
    monkeypatch.setattr(full_attention, "SCORES_BUDGET", 6000)
    monkeypatch.setattr(masks, "TILE", 5)
    last = prefill(setup.model, prompt, setup.model.make_caches(len(prompt.ids)), chunk)
    np.testing.assert_allclose(np.array(last[0]), expected(setup, prompt)[-1], atol=TOLERANCE)


@pytest.mark.parametrize(("bits", "error"), [(8, 0.02), (4, 0.3)])
@pytest.mark.parametrize("case", CASES)
def test_quantized_caches_stay_close_in_every_mode(setup: Setup, case: str, bits: int, error: float) -> None:
    model, prompt = setup.model, make_prompt(setup.model, case)
    want, cut = expected(setup, prompt)[-1], len(prompt.ids) - 20
    for chunk in (7, 512):
        caches = model.make_caches(len(prompt.ids), kv_bits=bits, kv_group_size=32)
        mx.eval(prefill(model, Prompt(prompt.ids[:cut], prompt.spans), caches, chunk))
        assert np.abs(np.array(prefill(model, prompt, caches, chunk)[0]) - want).mean() < error


@pytest.mark.parametrize("case", CASES)
def test_a_later_turn_reads_on_from_warm_caches(setup: Setup, case: str) -> None:
    model = setup.model
    prompt = make_prompt(model, case)
    want = expected(setup, prompt)[-1]
    inside = {position for start, stop in prompt.whole_runs() for position in range(start + 1, stop)}

    for cut in sorted(set(range(1, len(prompt.ids), 6)) - inside):
        caches = model.make_caches(len(prompt.ids))
        first = Prompt(prompt.ids[:cut], [span for span in prompt.spans if span.stop <= cut])
        mx.eval(prefill(model, first, caches, 11))
        last = prefill(model, prompt, caches, 11)
        np.testing.assert_allclose(np.array(last[0]), want, atol=TOLERANCE, err_msg=f"cut at {cut}")


def test_decoding_past_the_window_stays_exact(setup: Setup) -> None:
    model = setup.model
    prompt = make_prompt(model, "image")
    caches = model.make_caches(len(prompt.ids) + 40)
    chosen = list(decode(model, caches, prefill(model, prompt, caches, 16), lambda x: mx.argmax(x, axis=-1), 40))

    whole = expected(setup, Prompt([*prompt.ids, *chosen], prompt.spans))[len(prompt.ids) - 1 : -1]
    assert chosen == whole.argmax(-1).tolist()


def test_media_and_first_chunk_are_one_lazy_graph(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    model = setup.model
    prompt = make_prompt(model, "everything")
    calls = []
    monkeypatch.setattr(mx, "eval", lambda *arrays: calls.append(len(arrays)))
    prefill(model, prompt, model.make_caches(len(prompt.ids)), 512)
    assert calls == []


def test_a_full_cache_reads_nothing_more(tiny_folder: Path) -> None:
    model = load_model(tiny_folder)
    caches = model.make_caches(8)
    mx.eval(prefill(model, Prompt([300] * 8), caches, 8))
    with pytest.raises(ValueError, match="nothing is left to read"):
        prefill(model, Prompt([300] * 8), caches, 8)
