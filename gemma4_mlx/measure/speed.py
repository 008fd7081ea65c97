"""How fast prompts are read and replies written at a depth, through the engine that answers people."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import mlx.core as mx
import numpy as np

from gemma4_mlx.engine.drafts import PromptLookup
from gemma4_mlx.engine.options import GenerationOptions
from gemma4_mlx.engine.pacer import Pacer
from gemma4_mlx.engine.prefill import prefill
from gemma4_mlx.engine.sampling import Sampler
from gemma4_mlx.engine.speculative import decode_with_drafts
from gemma4_mlx.measure.fill import filled_caches, rewind
from gemma4_mlx.model.cache import Cache
from gemma4_mlx.model.unified import Gemma4Unified
from gemma4_mlx.prompt.prompt import Prompt

Kind = Literal["pp", "tg"]
ROOM = 2
"""Positions beyond a job's own: the tokens before and after those that are timed."""


@dataclass(frozen=True, slots=True)
class Job:
    """One line of the benchmark: `pp` reads so many tokens of prompt behind `depth` others, `tg` writes so many."""

    kind: Kind
    tokens: int
    depth: int

    @property
    def name(self) -> str:
        """As llama-bench writes it."""
        return f"{self.kind}{self.tokens}" + (f" @ d{self.depth}" if self.depth else "")


@dataclass(frozen=True, slots=True)
class Setup:
    """How the caches are kept and the prompt is read: see GenerationOptions."""

    kv_bits: int | None = None
    chunk: int = 512


@dataclass(frozen=True, slots=True)
class Samples:
    """Seconds of each repetition, and the highest memory in bytes while they ran."""

    seconds: Sequence[float]
    peak_memory: int


def run_job(
    model: Gemma4Unified,
    job: Job,
    setup: Setup,
    repeats: int,
    progress: Callable[[int, int], None] | None = None,
) -> Samples:
    """Runs a job once to warm up and then `repeats` times, from the same depth every time."""
    mx.clear_cache()
    mx.reset_peak_memory()
    timed = _timed_prompt if job.kind == "pp" else _timed_reply
    caches = filled_caches(model, job.depth, job.tokens + ROOM, setup.kv_bits)
    seconds = []
    for done in range(repeats + 1):
        if progress is not None:
            progress(done, repeats)
        rewind(caches, job.depth)
        seconds.append(timed(model, caches, job.tokens, setup))
    return Samples(seconds[1:], mx.get_peak_memory())


def _timed_prompt(model: Gemma4Unified, caches: Sequence[Cache], tokens: int, setup: Setup) -> float:
    """Seconds from token ids to the logits of the last one."""
    prompt = Prompt([*[0] * caches[0].offset, *_random_ids(model, tokens)])
    started = time.perf_counter()
    mx.eval(prefill(model, prompt, caches, setup.chunk))
    return time.perf_counter() - started


def _timed_reply(model: Gemma4Unified, caches: Sequence[Cache], tokens: int, setup: Setup) -> float:
    """Seconds of so many greedy steps without guesses, from the moment when the token before them is there."""
    del setup
    reply = unguessed(model, caches, model(model.embed(_random_ids(model, 1)), caches), tokens + 1)
    next(reply)
    started = time.perf_counter()
    for _ in reply:
        pass
    return time.perf_counter() - started


def unguessed(model: Gemma4Unified, caches: Sequence[Cache], hidden: mx.array, count: int) -> Iterator[int]:
    """A greedy reply of so many ids in the loop that answers people, nothing being guessed ahead.

    `hidden` `(1, 1, hidden)` is that of the last position read.
    """
    sampler = Sampler(GenerationOptions(), model.config.text.vocab_size)
    return decode_with_drafts(model, caches, hidden, sampler, count, (), PromptLookup(()), Pacer(fixed=0))


def _random_ids(model: Gemma4Unified, count: int) -> list[int]:
    return np.random.default_rng(0).integers(0, model.config.text.vocab_size, count).tolist()
