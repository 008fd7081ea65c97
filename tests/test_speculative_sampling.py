"""Sampling with drafts has the distribution of sampling without: many replies against probabilities from numpy.

Probabilities come from the model's logits after every possible beginning of a reply, and from a filter written here.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten
from plain_decode import decode

from benchmarks.random_checkpoint import random_tensor
from benchmarks.shapes import make_config, override
from gemma4_mlx.config import ModelConfig
from gemma4_mlx.engine.drafts import DraftSource, PromptLookup
from gemma4_mlx.engine.options import GenerationOptions
from gemma4_mlx.engine.pacer import Pacer
from gemma4_mlx.engine.prefill import read_hidden
from gemma4_mlx.engine.sampling import Sampler
from gemma4_mlx.engine.speculative import decode_with_drafts
from gemma4_mlx.model.unified import Gemma4Unified
from gemma4_mlx.prompt.prompt import Prompt

VOCABULARY, TOKENS, REPLIES = 5, 4, 250
PROMPT = np.random.default_rng(3).integers(0, 2, 60).tolist()
"""All triples of two tokens, so that the lookup guesses after any of them; the other three are new to the penalty."""

OPTIONS = {
    "plain": GenerationOptions(temperature=1.0),
    "top-k and top-p": GenerationOptions(temperature=1.0, top_k=4, top_p=0.8),
    "repetition penalty": GenerationOptions(temperature=1.0, repetition_penalty=20.0),
}
ALLOWED_DEVIATIONS = 3.5
"""How far a chi-square may be from its mean, in standard deviations: one right test in 4,000 is farther."""


class Always:
    """Guesses the same tokens whatever was said."""

    def __init__(self, guesses: Sequence[int]) -> None:
        self.guesses = mx.array(list(guesses))

    def append(self, token: int) -> None:
        """It does not matter."""

    def propose(self, token: mx.array, hidden: mx.array, count: int) -> mx.array | None:
        return self.guesses[:count]


@pytest.fixture(scope="module")
def model() -> Gemma4Unified:
    """A sliding and a full layer with random weights."""
    config = make_config(hidden=32, mlp=32, heads=2, head_dim=16, kv_heads=1, global_head_dim=32, window=16)
    ids = ("audio_token_id", "boa_token_id", "boi_token_id", "eoa_token_index", "eoi_token_id", "image_token_id")
    config |= dict.fromkeys((*ids, "video_token_id"), 0)
    config["text_config"] |= {"pad_token_id": 0}
    kinds = ["sliding_attention", "full_attention"]
    # A small cap keeps the distributions flat: what a wrong token changes would else be too rare to be seen.
    config = override(config, layer_types=kinds, vocab_size=VOCABULARY, final_logit_softcapping=1.5)
    made = Gemma4Unified(ModelConfig.from_dict(config))
    shapes = [(name, value.shape) for name, value in tree_flatten(made.parameters())]
    drawn = [(name, random_tensor(name, shape, mx.float32, mx.random.key(i))) for i, (name, shape) in enumerate(shapes)]
    return made.load_weights(drawn).prepare()


@pytest.fixture(scope="module")
def logits(model: Gemma4Unified) -> dict[tuple[int, ...], np.ndarray]:
    """Logits (vocabulary,) after the prompt and every reply of less than TOKENS tokens."""
    found: dict[tuple[int, ...], np.ndarray] = {}
    for length in range(TOKENS):
        replies = list(product(range(VOCABULARY), repeat=length))
        ids = mx.array([PROMPT + list(reply) for reply in replies])
        rows = np.array(model.logits(model(model.language_model.model.embed(ids)))[:, -1], dtype=np.float64)
        found |= dict(zip(replies, rows, strict=True))
    return found


def probabilities(row: np.ndarray, said: Sequence[int], options: GenerationOptions) -> np.ndarray:
    """Of the next token: the penalty, then the k likeliest, then of these the fewest that reach top_p."""
    row = row.copy()
    for token in set(PROMPT) | set(said):
        row[token] *= options.repetition_penalty if row[token] < 0 else 1 / options.repetition_penalty
    ranked = sorted(range(VOCABULARY), key=lambda token: -row[token])[: options.top_k or VOCABULARY]
    shares = np.exp(row[ranked]) / np.exp(row[ranked]).sum()
    kept = int(np.searchsorted(np.cumsum(shares), options.top_p)) + 1
    result = np.zeros(VOCABULARY)
    result[ranked[:kept]] = shares[:kept] / shares[:kept].sum()
    return result


def expected(logits: dict[tuple[int, ...], np.ndarray], options: GenerationOptions) -> dict[tuple[int, ...], float]:
    """The probability of every reply."""
    replies = {(): 1.0}
    for _ in range(TOKENS):
        replies = {
            (*said, token): share * following
            for said, share in replies.items()
            for token, following in enumerate(probabilities(logits[said], said, options))
        }
    return replies


def sampled(
    model: Gemma4Unified, options: GenerationOptions, make_source: Callable[[], DraftSource] | None, seeds: range
) -> Counter[tuple[int, ...]]:
    """Replies and how often they came. The prompt is read once; what a reply adds to the caches is forgotten again."""
    drafted = accepted = 0
    caches = model.make_caches(len(PROMPT) + TOKENS)
    hidden = read_hidden(model, Prompt(PROMPT), caches, 512)
    replies: Counter[tuple[int, ...]] = Counter()
    for seed in seeds:
        sampler = Sampler(replace(options, seed=seed), VOCABULARY, PROMPT)
        if make_source is None:
            reply = tuple(decode(model, caches, model.logits(hidden)[:, 0], sampler, TOKENS))
        else:
            pacer = Pacer(fixed=TOKENS - 1)
            reply = tuple(decode_with_drafts(model, caches, hidden, sampler, TOKENS, (), make_source(), pacer))
            drafted, accepted = drafted + pacer.drafted, accepted + pacer.accepted
        replies[reply] += 1
        for cache in caches:
            cache.rollback(cache.offset - len(PROMPT))
    assert make_source is None or 0 < accepted < drafted
    return replies


def deviation(replies: Counter[tuple[int, ...]], shares: dict[tuple[int, ...], float], part: slice) -> float:
    """Chi-square of a part of the replies in standard deviations, by Wilson and Hilferty's cube root.

    What is too rare to be expected 5 times is counted together.
    """
    assert all(shares[reply] > 0 for reply in replies)
    want, got = np.zeros((2, VOCABULARY, VOCABULARY))
    for reply, share in shares.items():
        want[reply[part]] += share * REPLIES
        got[reply[part]] += replies[reply]
    frequent = want >= 5
    want, got = (np.append(table[frequent], table[~frequent].sum()) for table in (want, got))
    want, got = want[want > 0], got[want > 0]
    freedom = len(want) - 1
    square = float(((got - want) ** 2 / want).sum())
    spread = 2 / (9 * freedom)
    return ((square / freedom) ** (1 / 3) - (1 - spread)) / spread**0.5


def always(*guesses: int) -> Callable[[], DraftSource]:
    return lambda: Always(guesses)


def lookup() -> DraftSource:
    return PromptLookup(PROMPT)


@pytest.mark.parametrize(
    ("kind", "make_source", "first_seed"),
    [
        ("plain", None, 0),
        ("plain", lookup, 1000),
        ("top-k and top-p", lookup, 2000),
        ("top-k and top-p", always(1, 0, 1), 3000),
        ("repetition penalty", always(3, 4, 2), 4000),
    ],
)
def test_replies_have_the_distribution_of_the_model(
    model: Gemma4Unified,
    logits: dict[tuple[int, ...], np.ndarray],
    kind: str,
    make_source: Callable[[], DraftSource] | None,
    first_seed: int,
) -> None:
    replies = sampled(model, OPTIONS[kind], make_source, range(first_seed, first_seed + REPLIES))
    shares = expected(logits, OPTIONS[kind])
    assert deviation(replies, shares, slice(0, 2)) < ALLOWED_DEVIATIONS
    assert deviation(replies, shares, slice(2, 4)) < ALLOWED_DEVIATIONS
