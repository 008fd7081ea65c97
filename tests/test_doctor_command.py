"""The doctor's command: its report and its exit code."""

from collections.abc import Iterator

import pytest

from gemma4_mlx.commands.doctor import main
from gemma4_mlx.measure import checks
from gemma4_mlx.measure.checks import Check, Trial


@pytest.fixture
def one_check(monkeypatch: pytest.MonkeyPatch) -> None:
    def compare(trial: Trial) -> Iterator[Check]:
        yield Check(trial.name, "gpu", "1.0e-05", "2.0e-03", agrees=not trial.name.startswith("1,400"))

    monkeypatch.setattr(checks, "compare", compare)


def test_a_difference_is_told_and_fails(one_check: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 1
    out = capsys.readouterr().out
    assert out.startswith("# gemma4_mlx doctor\n- machine: ")
    assert "| picture and sound | gpu | 1.0e-05 | 2.0e-03 | agrees |" in out
    assert "| 1,400 tokens in tiles | gpu | 1.0e-05 | 2.0e-03 | **differs** |" in out
    assert out.endswith("8 checks: **1 differ**\n")


def test_the_built_in_model_is_asked(
    one_check: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "trials", lambda: [])
    assert main([]) == 0
    out = capsys.readouterr().out
    assert "| Transcribe the speech. | cpu | 4719 | 4719 | agrees |" in out
    assert "| What is 12 + 7? | cpu | 19 | 19 | agrees |" in out
    assert out.endswith("4 checks: all agree\n")


def test_what_fits_is_planned(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from gemma4_mlx.engine import memory

    monkeypatch.setattr(checks, "trials", lambda: [])
    monkeypatch.setattr(checks, "questions_answered", lambda: iter(()))
    monkeypatch.setattr(memory, "budget", lambda: memory.Budget(10_355_000_000, 545_000_000))
    assert main([]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("- planned")]
    assert "12B with 4 bits: 7.5 GB at 8,192 tokens of 10.4 GB" in lines[0]
    assert "12B with 8 bits: 13.5 GB at 8,192 tokens of 10.4 GB" in lines[1]
    assert lines[1].endswith("longest context 0 with 16-bit caches, 0 with 8-bit caches, 0 with 4-bit caches")
