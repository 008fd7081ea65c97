"""Which tokens the filters leave, and how often they come."""

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemma4_mlx.engine.options import GenerationOptions
from gemma4_mlx.engine.sampling import Sampler, largest, sample
from gemma4_mlx.errors import GemmaError, UsageError

PROBABILITIES = np.array([0.02, 0.40, 0.08, 0.30, 0.20], np.float32)
LOGITS = mx.array(np.log(PROBABILITIES))[None]


def drawn(options: GenerationOptions, count: int = 400) -> np.ndarray:
    keys = mx.random.split(mx.random.key(7), count)
    return np.array([sample(LOGITS, options, keys[i]).item() for i in range(count)])


@pytest.mark.parametrize(
    ("filters", "kept"),
    [
        ({}, {0, 1, 2, 3, 4}),
        ({"top_k": 2}, {1, 3}),
        ({"top_k": 9}, {0, 1, 2, 3, 4}),
        ({"top_p": 0.5}, {1, 3}),
        ({"top_p": 0.39}, {1}),
        ({"top_p": 0.75}, {1, 3, 4}),
        ({"min_p": 0.45}, {1, 3, 4}),
        ({"min_p": 1.0}, {1}),
        # top-k first, so that top-p sees 0.40 / 0.90 and 0.30 / 0.90
        ({"top_k": 3, "top_p": 0.77}, {1, 3}),
        # temperature first: squared and renormalised, 0.40 alone is over a half
        ({"temperature": 0.5, "top_p": 0.53}, {1}),
    ],
)
def test_filters_keep_exactly(filters: dict, kept: set[int]) -> None:
    options = GenerationOptions(**{"temperature": 1.0, **filters})
    assert set(drawn(options).tolist()) == kept


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.sampled_from([64 * 41, 64 * 100, 6400 + 1]))
def test_the_largest_of_a_large_vocabulary(seed: int, count: int, width: int) -> None:
    logits = np.random.default_rng(seed).permutation(width).astype(np.float32)
    assert set(largest(mx.array(logits[None]), count)[0].tolist()) == set(np.argsort(logits)[-count:].tolist())


def test_frequencies_follow_the_distribution() -> None:
    counts = np.bincount(drawn(GenerationOptions(temperature=1.0, top_k=4), 4000), minlength=5) / 4000
    expected = np.where(PROBABILITIES > 0.05, PROBABILITIES, 0) / PROBABILITIES[PROBABILITIES > 0.05].sum()
    np.testing.assert_allclose(counts, expected, atol=0.03)


def test_greedy_obeys_suppression() -> None:
    assert Sampler(GenerationOptions(), 5)(LOGITS).item() == 1
    assert Sampler(GenerationOptions(suppress_tokens=(1, 3)), 5)(LOGITS).item() == 4


def test_repetition_penalty_counts_prompt_and_reply() -> None:
    logits = mx.array([[1.0, 3.0, -1.0, 2.9, 2.8]])
    sampler = Sampler(GenerationOptions(repetition_penalty=2.0), 5, prompt_ids=[1])
    assert [sampler(logits).item() for _ in range(4)] == [3, 4, 1, 1]


def test_seed_repeats() -> None:
    def run(seed: int) -> list[int]:
        sampler = Sampler(GenerationOptions(temperature=1.0, seed=seed), 5)
        return [sampler(LOGITS).item() for _ in range(20)]

    assert run(3) == run(3)
    assert run(3) != run(4)


def test_options_of_a_checkpoint_and_of_the_caller() -> None:
    config = {
        "do_sample": True, "temperature": 1.0, "top_k": 64, "top_p": 0.95,
        "eos_token_id": [1, 106, 50], "suppress_tokens": [258883, 258882],
    }  # fmt: skip
    options = GenerationOptions.from_config(config, top_k=None, temperature=0.3)
    assert (options.temperature, options.top_k, options.top_p) == (0.3, 64, 0.95)
    assert (options.eos_ids, options.suppress_tokens) == ((1, 106, 50), (258883, 258882))
    assert GenerationOptions.from_config({"do_sample": False, "temperature": 1.0, "eos_token_id": 1}).temperature == 0


def test_one_stop_string_is_one() -> None:
    assert GenerationOptions(stop="END").stop == ("END",)
    assert GenerationOptions.from_config({}, stop="END").stop == ("END",)
    assert GenerationOptions(stop=["a", "b"]).stop == ["a", "b"]


def test_a_configuration_may_say_nothing() -> None:
    empty = {"temperature": None, "top_k": None, "eos_token_id": None, "suppress_tokens": None}
    assert GenerationOptions.from_config(empty) == GenerationOptions()


@pytest.mark.parametrize(
    ("config", "line"),
    [
        ({"temperature": "hot"}, "temperature must be a number, not 'hot'"),
        ({"top_k": 2.5}, "top_k must be a whole number, not 2.5"),
        ({"top_p": True}, "top_p must be a number, not True"),
        ({"eos_token_id": ["<eos>"]}, "eos_token_id must be a whole number, not '<eos>'"),
        ({"eos_token_id": {"id": 1}}, "eos_token_id must be a whole number, not {'id': 1}"),
        ({"suppress_tokens": "none"}, "suppress_tokens must be a whole number, not 'none'"),
        ({"temperature": 1000}, "temperature must be from 0 to 100, not 1000"),
    ],
)
def test_a_checkpoints_options_of_another_kind(config: dict, line: str) -> None:
    with pytest.raises(GemmaError) as error:
        GenerationOptions.from_config(config)
    assert str(error.value) == f"generation_config.json: {line}"
    assert error.value.exit_code == 1


def test_a_wrong_option_is_not_blamed_on_the_checkpoint() -> None:
    with pytest.raises(UsageError, match=r"^temperature must be from 0 to 100, not 1000$"):
        GenerationOptions.from_config({"temperature": 1.0}, temperature=1000)
    assert GenerationOptions.from_config({"temperature": 1000}, temperature=0.5).temperature == 0.5


@pytest.mark.parametrize(
    ("option", "line"),
    [
        ({"max_tokens": 0}, "max_tokens must be a whole number from 1 up, not 0"),
        ({"temperature": -1}, "temperature must be from 0 to 100, not -1"),
        ({"temperature": float("nan")}, "temperature must be from 0 to 100, not nan"),
        ({"top_k": -1}, "top_k must be a whole number from 0 up, not -1"),
        ({"top_p": 0}, "top_p must be over 0 and at most 1, not 0"),
        ({"top_p": 1.5}, "top_p must be over 0 and at most 1, not 1.5"),
        ({"min_p": 2}, "min_p must be from 0 to 1, not 2"),
        ({"repetition_penalty": 0}, "repetition_penalty must be over 0 up to 100, not 0"),
        ({"seed": -1}, "seed must be a whole number from 0 to 2**64 - 1, not -1"),
        ({"prefill_step_size": 0}, "prefill_step_size must be a whole number from 1 up, not 0"),
    ],
)
def test_options_out_of_range(option: dict, line: str) -> None:
    with pytest.raises(UsageError) as error:
        GenerationOptions(**option)
    assert str(error.value) == line
