"""The doctor's comparisons: they agree here, and a mistake of any kind shows."""

from collections.abc import Iterator
from contextlib import nullcontext

import mlx.core as mx
import numpy as np
import pytest

from gemma4_mlx.measure import checks
from gemma4_mlx.measure.checks import Check, Trial, compare, difference, guarded
from gemma4_mlx.measure.paths import PATHS, media_prompt, text_prompt
from gemma4_mlx.measure.questions import questions
from gemma4_mlx.measure.random_model import random_model
from gemma4_mlx.measure.shapes import make_config
from gemma4_mlx.model.cache import SharedCache, SlidingCache

CONFIG = make_config(
    layers="SSF",
    hidden=64,
    mlp=64,
    heads=4,
    head_dim=64,
    kv_heads=2,
    full_head_dim=128,
    window=16,
    vocab=64,
    context=512,
)
TRIAL = Trial("small", CONFIG, media_prompt(CONFIG, tail=30))


@pytest.fixture
def trial() -> Iterator[Trial]:
    yield TRIAL
    mx.clear_cache()


def wrong(trial: Trial) -> set[str]:
    return {check.name.removeprefix("small, ") for check in compare(trial) if not check.agrees}


def test_every_path_agrees_with_every_kind_of_caches(trial: Trial) -> None:
    found = list(compare(trial))
    assert len(found) == 3 * (len(PATHS) - 1) + 2
    assert [check.name for check in found if not check.agrees] == []
    assert {check.device for check in found} == {"cpu"}


@pytest.mark.parametrize("bits", [None, 4])
def test_weights_of_other_kinds(bits: int | None) -> None:
    trial = Trial("small", CONFIG, TRIAL.prompt, ("token by token",), mx.bfloat16, bits, limit=0.1)
    assert wrong(trial) == set()


def test_a_wrong_rollback_shows(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_little(self: SlidingCache, count: int) -> None:
        self.offset -= count
        self.end -= count - 1

    monkeypatch.setattr(SlidingCache, "rollback", too_little)
    assert wrong(trial) == {f"{caches} caches, rolled back" for caches in ("plain", "8-bit", "4-bit")}


def test_forgotten_vision_blocks_show(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    from gemma4_mlx.model import text

    real = text.sliding_tiles

    def causal(length, offset, window, blocks, queries):  # type: ignore[no-untyped-def]
        return real(length, offset, window, blocks if offset == 0 else (), queries)

    monkeypatch.setattr(text, "sliding_tiles", causal)
    assert {"plain caches, in chunks", "plain caches, in a later turn"} <= wrong(trial)


def test_a_failure_is_a_result(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: SharedCache, max_length: int) -> None:
        raise RuntimeError("no such\nkernel")

    monkeypatch.setattr(SharedCache, "grow", broken)
    failed = [check for check in compare(trial) if not check.agrees]
    assert [check.found for check in failed] == ["RuntimeError: no such kernel"] * 3


def test_a_check_runs_on_its_device() -> None:
    check = guarded("where", mx.cpu, "cpu", lambda: (str(mx.default_device()), True))
    assert check == Check("where", "cpu", "Device(cpu, 0)", "cpu", agrees=True)


def test_differences() -> None:
    assert difference(np.array([3.0, 5.0]), np.array([3.0, 4.0])) == 0.2
    assert difference(np.array([np.nan, 4.0]), np.array([3.0, 4.0])) == float("inf")


def test_prompts() -> None:
    assert [(span.kind, span.start, span.stop) for span in TRIAL.prompt.spans] == [("image", 10, 22), ("audio", 27, 36)]
    assert len(TRIAL.prompt.ids) == 66
    assert min(text_prompt(CONFIG, 40).ids) >= 16


def test_the_long_trial_is_attended_to_in_tiles() -> None:
    from gemma4_mlx.model.full_attention import tile_size

    long = checks.trials()[-1]
    assert len(long.prompt.ids) == 1600
    assert tile_size(16, 8, 1600) == 1304
    assert long.config.text.layers[0].window == 1024


def test_random_models_are_the_same_every_time() -> None:
    first, second = (random_model(CONFIG, mx.float32) for _ in range(2))
    weights = [model.language_model.model.layers[0].mlp.down_proj.weight for model in (first, second)]
    assert mx.array_equal(*weights)


def test_an_installed_package_without_examples_asks_about_text_only(tmp_path) -> None:  # type: ignore[no-untyped-def]
    assert [question.text for question in questions(tmp_path)] == ["What is 12 + 7?"]
    assert len(questions()) == 4


def test_with_a_gpu_one_pass_is_compared_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "devices", lambda: [mx.gpu, mx.cpu])
    monkeypatch.setattr(checks, "on", lambda device: nullcontext())
    found = [(check.name, check.device) for check in compare(TRIAL)]
    assert ("small, plain caches, in one pass", "gpu") in found
    assert ("small, plain caches, in one pass", "cpu") not in found
    assert len(found) == 3 * (2 * len(PATHS) - 1) + 2
