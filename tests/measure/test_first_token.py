"""Made-up media have the sizes that their names say."""

import pytest

from gemma4_mlx.api import load
from gemma4_mlx.measure.first_token import cases, run_case
from gemma4_mlx.measure.speed import Setup
from gemma4_mlx.model.unified import Gemma4Unified
from gemma4_mlx.prompt.processor import Processor


@pytest.fixture(scope="module")
def nano() -> tuple[Gemma4Unified, Processor]:
    return load("nano")


def test_prompts_have_as_many_placeholders_as_named(nano: tuple[Gemma4Unified, Processor]) -> None:
    spans = {
        case.name: sum(span.stop - span.start for span in nano[1].prompt(case.messages).spans)
        for case in cases(nano[0].config)
    }
    assert spans == {
        "text": 0,
        "image of 280 tokens": 280,
        "image of 1120 tokens": 1120,
        "audio of 30 s": 750,
        "video of 60 s": 32 * 70,
    }


def test_a_case_is_timed_after_a_warm_up(nano: tuple[Gemma4Unified, Processor]) -> None:
    told: list[tuple[int, int]] = []
    samples, tokens = run_case(*nano, cases(nano[0].config)[0], Setup(8), 2, lambda *done: told.append(done))
    assert told == [(0, 2), (1, 2), (2, 2)]
    assert len(samples.seconds) == 2
    assert min(samples.seconds) > 0
    assert 15 < tokens < 60
    assert samples.peak_memory > 1e6
