"""Which prefill step is fastest: what is read, and what is said of made-up times."""

import pytest

from gemma4_mlx.measure import steps
from gemma4_mlx.measure.speed import Job, Samples, Setup
from gemma4_mlx.measure.steps import measured_steps, steps_line


def samples(*seconds: float) -> dict[int, Samples]:
    peaks = (1_000_000_000, 1_250_000_000, 1_750_000_000)
    return {
        step: Samples([time, time + 1], peak)
        for step, time, peak in zip((512, 1024, 2048), seconds, peaks, strict=True)
    }


def test_the_fastest_step_is_named_with_its_price() -> None:
    assert steps_line("4,096 tokens", samples(2.0, 1.6, 1.25)) == (
        "prefill step: 512: 2 s, 1,024: 1.6 s, 2,048: 1.25 s (4,096 tokens): **2,048 is fastest**, 1.60 x 512, "
        "with 0.75 GB more: --prefill-step-size 2048"
    )


@pytest.mark.parametrize("seconds", [(2.0, 2.0, 2.0), (2.0, 2.5, 3.0), (2.0, 1.95, 1.92)])
def test_no_more_memory_for_nothing(seconds: tuple[float, float, float]) -> None:
    assert steps_line("x", samples(*seconds)).endswith("(x): 512 is as fast as any")


def test_each_step_reads_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Job, Setup]] = []

    def run_job(model: object, job: Job, setup: Setup, repeats: int) -> Samples:
        asked.append((job, setup))
        return Samples([1.0], 1)

    monkeypatch.setattr(steps, "run_job", run_job)
    what, found = measured_steps(lambda _: None)
    assert what == "2,048 tokens, a small model on the CPU"
    assert list(found) == [512, 1024, 2048]
    assert asked == [(Job("pp", 2048, 0), Setup(chunk=step)) for step in (512, 1024, 2048)]
