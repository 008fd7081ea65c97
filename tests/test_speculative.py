"""Decoding with drafts says what decoding without them says, whatever is guessed."""

from collections.abc import Iterator

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from plain_decode import decode
from test_model import Setup, make_prompt, setup  # noqa: F401

from gemma4_mlx.engine.drafts import PromptLookup
from gemma4_mlx.engine.options import GenerationOptions
from gemma4_mlx.engine.pacer import LONGEST, Pacer
from gemma4_mlx.engine.prefill import read_hidden
from gemma4_mlx.engine.sampling import Sampler
from gemma4_mlx.engine.speculative import decode_with_drafts
from gemma4_mlx.model.unified import Gemma4Unified
from gemma4_mlx.prompt.prompt import Prompt

TOKENS = 42


class Oracle:
    """Guesses the known continuation, wrong at every `wrong`-th token."""

    def __init__(self, continuation: list[int], wrong: int) -> None:
        self.guesses = [token if (i + 1) % wrong else 300 for i, token in enumerate(continuation)]
        self.said = 0

    def append(self, token: int) -> None:
        self.said += 1

    def propose(self, token: mx.array, hidden: mx.array, count: int) -> mx.array | None:
        found = self.guesses[self.said + 1 : self.said + 1 + count]
        return mx.array(found) if found else None


def plain(model: Gemma4Unified, prompt: Prompt, options: GenerationOptions, **kv: int) -> list[int]:
    caches = model.make_caches(len(prompt.ids) + TOKENS, **kv)
    logits = model.logits(read_hidden(model, prompt, caches, 16))[:, 0]
    return list(decode(model, caches, logits, make_sampler(model, prompt, options), TOKENS))


def make_sampler(model: Gemma4Unified, prompt: Prompt, options: GenerationOptions) -> Sampler:
    return Sampler(options, model.config.text.vocab_size, prompt.ids)


def drafted(
    model: Gemma4Unified, prompt: Prompt, options: GenerationOptions, source: object, pacer: Pacer, **kv: int
) -> Iterator[int]:
    caches = model.make_caches(len(prompt.ids) + TOKENS, **kv)
    hidden = read_hidden(model, prompt, caches, 16)
    sampler = make_sampler(model, prompt, options)
    return decode_with_drafts(model, caches, hidden, sampler, TOKENS, (), source, pacer)


@pytest.mark.parametrize(
    ("case", "kv"),
    [("text", {}), ("everything", {}), ("everything", {"kv_bits": 8, "kv_group_size": 32})],
    ids=["text", "everything", "everything in 8 bits"],
)
@pytest.mark.parametrize(
    "options",
    [
        GenerationOptions(),
        GenerationOptions(repetition_penalty=1.3),
        GenerationOptions(temperature=0.8, top_k=40, seed=3, repetition_penalty=1.1),
    ],
    ids=["greedy", "penalty", "sampled"],
)
def test_any_guesses_give_the_same_tokens(setup: Setup, case: str, options: GenerationOptions, kv: dict) -> None:  # noqa: F811
    prompt = make_prompt(setup.model, case)
    want = plain(setup.model, prompt, options, **kv)
    for wrong, length in ((2, 1), (5, 3), (7, 15), (1000, 15)):
        pacer = Pacer(fixed=length)
        assert list(drafted(setup.model, prompt, options, Oracle(want, wrong), pacer, **kv)) == want
        assert pacer.accepted > 0


def test_right_guesses_are_all_accepted(setup: Setup) -> None:  # noqa: F811
    prompt, pacer = make_prompt(setup.model, "text"), Pacer(fixed=15)
    want = plain(setup.model, prompt, GenerationOptions())
    list(drafted(setup.model, prompt, GenerationOptions(), Oracle(want, 1000), pacer))
    assert pacer.accepted == pacer.drafted
    assert pacer.tokens / pacer.passes > 10


def test_caches_hold_what_was_said_and_nothing_else(setup: Setup) -> None:  # noqa: F811
    model, prompt = setup.model, make_prompt(setup.model, "image")
    want = plain(model, prompt, GenerationOptions())
    straight, ahead = model.make_caches(200), model.make_caches(200)
    mx.eval(read_hidden(model, Prompt([*prompt.ids, *want[:-1]], prompt.spans), straight, 512))
    hidden = read_hidden(model, prompt, ahead, 512)
    sampler = make_sampler(model, prompt, GenerationOptions())
    list(decode_with_drafts(model, ahead, hidden, sampler, TOKENS, (), Oracle(want, 3), Pacer(fixed=6)))
    step = model.language_model.model.embed(mx.array([[want[-1]]]))
    assert ahead[0].offset == straight[0].offset == len(prompt.ids) + TOKENS - 1
    np.testing.assert_allclose(model(step, ahead), model(step, straight), atol=1e-4)


def test_a_stop_token_among_the_guesses_ends_the_reply(setup: Setup) -> None:  # noqa: F811
    model, prompt = setup.model, make_prompt(setup.model, "text")
    want = plain(model, prompt, GenerationOptions())
    stop = want[9]
    caches = model.make_caches(200)
    hidden = read_hidden(model, prompt, caches, 512)
    sampler = make_sampler(model, prompt, GenerationOptions())
    said = list(decode_with_drafts(model, caches, hidden, sampler, TOKENS, {stop}, Oracle(want, 1000), Pacer(fixed=15)))
    assert said == want[: want.index(stop) + 1]
    assert caches[0].offset == len(prompt.ids) + len(said)


def test_lookup_guesses_what_followed_before() -> None:
    lookup = PromptLookup([1, 2, 3, 4, 5, 6, 9, 1, 2, 3])
    assert lookup.propose(mx.array([4]), mx.array(0), 3).tolist() == [5, 6, 9]
    assert lookup.propose(mx.array([8]), mx.array(0), 3) is None
    lookup.append(8)
    assert lookup.propose(mx.array([4]), mx.array(0), 3) is None


def test_lookup_follows_a_repeating_reply_to_its_end() -> None:
    lookup = PromptLookup([7, 1, 2, 3, 1, 2, 3])
    assert lookup.propose(mx.array([1]), mx.array(0), 9).tolist() == [2, 3]


class Clock:
    """Time in which a pass of n tokens takes as long as it is told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def run(pacer: Pacer, clock: Clock, cost: float, accepted: object, tokens: int) -> float:
    """Time of that many tokens where each plain one takes 1 and each drafted one adds `cost`."""
    said = 0
    while said < tokens:
        length = pacer.length()
        clock.now += 1 + cost * length
        if length:
            right = accepted(length)
            pacer.pass_done(length, right)
            said += right + 1
        else:
            pacer.plain()
            said += 1
    return clock.now


@pytest.mark.parametrize("cost", [0.02, 0.3, 1.0])
def test_where_nothing_is_accepted_drafting_costs_at_most_three_percent(cost: float) -> None:
    clock = Clock()
    assert run(Pacer(clock=clock), clock, cost, lambda length: 0, 1000) <= 1030


def test_where_all_is_accepted_it_drafts_as_far_as_it_can() -> None:
    clock = Clock()
    assert run(Pacer(clock=clock), clock, 0.05, lambda length: length, 1000) < 200


@given(st.lists(st.floats(0, 1), min_size=1, max_size=5), st.floats(0, 2))
@example([0.0, 1.0], 1.0)
@settings(deadline=None, max_examples=200)
def test_no_pattern_of_acceptance_makes_it_much_slower(pattern: list[float], cost: float) -> None:
    clock, turn = Clock(), iter(pattern * 2000)
    time = run(Pacer(clock=clock), clock, cost, lambda length: int(next(turn) * length), 1000)
    assert time <= 1030 + 4 + 15 * cost  # three percent, the credit of a new reply, and the pass that overdraws it


class Notes:
    """A pacer that guesses by a script and keeps what it is told."""

    def __init__(self, lengths: list[int]) -> None:
        self.lengths, self.told = iter(lengths), list[str]()

    def length(self) -> int:
        return next(self.lengths)

    def start(self) -> None:
        self.told.append("start")

    def plain(self) -> None:
        self.told.append("step")

    def pass_done(self, drafted: int, accepted: int) -> None:
        self.told.append(f"pass {accepted} of {drafted}")


def test_a_step_is_timed_when_its_token_is_there(setup: Setup) -> None:  # noqa: F811
    """Rounds with and without guesses: the prompt is no step, a step before a pass is its own, none follows a pass."""
    model, prompt = setup.model, make_prompt(setup.model, "text")
    want, notes = plain(model, prompt, GenerationOptions()), Notes([0, 0, 3, 3, 0, 0])
    tokens = drafted(model, prompt, GenerationOptions(), Oracle(want, 1000), notes)  # type: ignore[arg-type]
    assert [next(tokens) for _ in range(12)] == want[:12]
    assert notes.told == ["start", "step", "step", "pass 3 of 3", "pass 3 of 3", "step"]


def test_a_slow_first_step_is_forgotten() -> None:
    """Kernels are compiled in it: drafting that loses against the steps after it must still stop."""
    clock = Clock()
    pacer = Pacer(clock=clock)
    clock.now = 50
    pacer.plain()
    assert run(pacer, clock, 1.0, lambda length: 0, 1000) - 50 <= 1034


def test_it_never_drafts_more_than_can_be_forgotten() -> None:
    pacer = Pacer(clock=Clock())
    pacer.plain()
    pacer.plain()
    for _ in range(10):
        pacer.pass_done(pacer.length(), pacer.length())
    assert pacer.length() == LONGEST
