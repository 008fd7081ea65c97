"""How long a run will take: a short one is timed, and the count of bytes and operations says how the others compare."""

from collections.abc import Sequence
from dataclasses import dataclass

from gemma4_mlx.config import ModelConfig
from gemma4_mlx.measure.costs import decoding_pass, reading_pass
from gemma4_mlx.measure.speed import Job, Setup, run_job
from gemma4_mlx.model.unified import Gemma4Unified

PROBES = (Job("pp", 64, 0), Job("tg", 8, 0))


@dataclass(frozen=True, slots=True)
class Pace:
    """Operations a second while reading, and bytes a second while writing, as a short run had them."""

    reading: float
    writing: float


def probe(model: Gemma4Unified, weight_bytes: int, setup: Setup) -> Pace:
    """Times two short jobs."""
    reading, writing = PROBES
    read, written = (min(run_job(model, job, setup, 2).seconds) for job in PROBES)
    operations = reading_pass(model.config, 0, reading.tokens, weight_bytes, setup.kv_bits, setup.chunk).operations
    moved = decoding_pass(model.config, writing.tokens, weight_bytes, setup.kv_bits).bytes * writing.tokens
    return Pace(operations / read, moved / written)


def seconds_needed(
    config: ModelConfig, jobs: Sequence[Job], weight_bytes: int, setup: Setup, pace: Pace, repeats: int
) -> float:
    """Of all jobs with their warm-ups."""
    return (repeats + 1) * sum(_once(config, job, weight_bytes, setup, pace) for job in jobs)


def _once(config: ModelConfig, job: Job, weight_bytes: int, setup: Setup, pace: Pace) -> float:
    if job.kind == "pp":
        cost = reading_pass(config, job.depth, job.tokens, weight_bytes, setup.kv_bits, setup.chunk)
        return cost.operations / pace.reading
    cost = decoding_pass(config, job.depth + job.tokens // 2, weight_bytes, setup.kv_bits)
    return job.tokens * cost.bytes / pace.writing
