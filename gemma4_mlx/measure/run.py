"""A whole benchmark: a checkpoint is loaded, and every job of the list becomes a row."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import mlx.core as mx

from gemma4_mlx.api import load
from gemma4_mlx.engine.memory import budget, keep_to
from gemma4_mlx.engine.plan import Plan, check, module_bytes, need
from gemma4_mlx.errors import UsageError, visible
from gemma4_mlx.measure.chips import Limits
from gemma4_mlx.measure.estimate import probe, seconds_needed
from gemma4_mlx.measure.fill import bytes_per_token, cache_bytes
from gemma4_mlx.measure.first_token import Case, cases, run_case
from gemma4_mlx.measure.report import Checkpoint, Row
from gemma4_mlx.measure.roofline import job_bound
from gemma4_mlx.measure.speed import ROOM, Job, Setup, run_job
from gemma4_mlx.model.fingerprint import fingerprint
from gemma4_mlx.model.rows import KVQuantization
from gemma4_mlx.model.unified import Gemma4Unified
from gemma4_mlx.prompt.processor import Processor

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Subject:
    """A loaded checkpoint, what is known of it, and the plan of the job that needs most memory."""

    model: Gemma4Unified
    processor: Processor
    checkpoint: Checkpoint
    plan: Plan

    @property
    def dtype(self) -> mx.Dtype:
        """Of hidden states and plain caches."""
        return self.model.language_model.model.dtype

    @property
    def decoder_bytes(self) -> int:
        """Weights that a pass reads: without the projections of media."""
        return module_bytes(self.model.language_model)


def load_subject(folder: Path, name: str, setup: Setup, jobs: Sequence[Job]) -> Subject:
    """Loads and times it, once it is sure that all jobs fit; sets the allocator's limits as for a reply.

    Raises UsageError for a depth beyond the context, DoesNotFitError for one that the memory has no room for.
    """
    started = time.perf_counter()
    model, processor = load(folder, lazy=True)
    plans = [plan_of(model, job, setup) for job in jobs]
    largest = max(plans, key=lambda plan: plan.total)
    keep_to(largest)
    model.prepare()
    seconds = time.perf_counter() - started
    text, dtype = model.config.text, model.language_model.model.dtype
    context = text.max_position_embeddings
    growth = bytes_per_token(text, setup.kv_bits, dtype)
    checkpoint = Checkpoint(
        name=visible(name),
        fingerprint=fingerprint(model),
        weight_bytes=module_bytes(model),
        bits=(model.config.quantization or {}).get("bits", 8 * dtype.size),
        kv_bits=setup.kv_bits,
        kv_bytes_per_token=growth,
        window_bytes=cache_bytes(text, context, setup.kv_bits, dtype) - growth * context,
        load_seconds=seconds,
    )
    return Subject(model, processor, checkpoint, largest)


def plan_of(model: Gemma4Unified, job: Job, setup: Setup) -> Plan:
    """What a job needs in memory, if it fits."""
    length, context = job.depth + job.tokens + ROOM, model.config.text.max_position_embeddings
    if length > context:
        raise UsageError(f"{job.name}: more than the model's context of {context} tokens")
    allowed = budget()
    needed = need(
        model,
        None,
        chunk=setup.chunk,
        kv_group_size=KVQuantization(8).group_size,
        limit=allowed.limit,
        reserve=allowed.reserve,
    )
    return check(needed, needed.plan(length, setup.kv_bits))


def estimate(subject: Subject, jobs: Sequence[Job], asked: Sequence[Case], setup: Setup, repeats: int) -> float:
    """Seconds that the rows will take."""
    lengths = [len(subject.processor.prompt(case.messages).ids) for case in asked]
    everything = [*jobs, *(Job("pp", length, 0) for length in lengths)]
    pace = probe(subject.model, subject.decoder_bytes, setup)
    return seconds_needed(subject.model.config, everything, subject.decoder_bytes, setup, pace, repeats)


def speed_rows(
    subject: Subject, jobs: Sequence[Job], setup: Setup, repeats: int, limits: Limits | None, progress: Progress
) -> Iterator[Row]:
    """A row for each job, as they are done."""
    for job in jobs:
        samples = run_job(subject.model, job, setup, repeats, counted(job.name, progress))
        bound = None
        if limits is not None:
            config, weights = subject.model.config, subject.decoder_bytes
            bound = job_bound(config, job, weights, limits, setup.kv_bits, setup.chunk)
        rates = [job.tokens / seconds for seconds in samples.seconds]
        yield Row(job.name, "tokens/s", rates, samples.peak_memory, job.tokens, job.depth, bound)


def first_token_rows(
    subject: Subject, asked: Sequence[Case], setup: Setup, repeats: int, progress: Progress
) -> Iterator[Row]:
    """A row for each kind of media; for sound also how many times faster than it lasts it is read."""
    for case in asked:
        name = f"first token, {case.name}"
        samples, tokens = run_case(subject.model, subject.processor, case, setup, repeats, counted(name, progress))
        yield Row(name, "s", samples.seconds, samples.peak_memory, tokens)
        if case.audio_seconds:
            factors = [case.audio_seconds / seconds for seconds in samples.seconds]
            yield Row(f"{case.name}, times real time", "x", factors, samples.peak_memory, tokens)


def all_cases(subject: Subject) -> list[Case]:
    """What the checkpoint can be asked."""
    return cases(subject.model.config)


def counted(name: str, progress: Progress) -> Callable[[int, int], None]:
    """What a job tells its repetitions to, under a name."""
    return lambda done, repeats: progress(f"{name}: {done} of {repeats}" if done else f"{name}: warming up")
