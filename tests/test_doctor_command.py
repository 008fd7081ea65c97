"""The doctor's command: its report and its exit code."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from gemma4_mlx.commands.doctor import main
from gemma4_mlx.measure import checks, kernels, machine, power, steps
from gemma4_mlx.measure.checks import Check, Trial
from gemma4_mlx.measure.speed import Samples


@pytest.fixture
def one_check(monkeypatch: pytest.MonkeyPatch) -> None:
    def compare(trial: Trial) -> Iterator[Check]:
        yield Check(trial.name, "gpu", "1.0e-05", "2.0e-03", agrees=not trial.name.startswith("1,600"))

    monkeypatch.setattr(checks, "compare", compare)
    monkeypatch.setattr(kernels, "kernel_checks", lambda: iter([Check("k", "gpu", "1e-5", "2e-5", True, 0.5)]))
    monkeypatch.setattr(steps, "measured_steps", lambda _: ("x", {512: Samples([1.0], 1), 1024: Samples([0.5], 1)}))


def test_a_difference_is_told_and_fails(one_check: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 1
    out = capsys.readouterr().out
    assert out.startswith("# gemma4_mlx doctor\n- machine: ")
    assert "| picture and sound | gpu | 1.0e-05 | 2.0e-03 | agrees |" in out
    assert "| 1,600 tokens in tiles | gpu | 1.0e-05 | 2.0e-03 | **differs** |" in out
    assert out.endswith("9 checks: **1 differ**\n")
    assert "- no wrong kernel: all 1 are within rounding, at most 0.50 of what it may be. So it is no kernel" in out
    assert "**1,024 is fastest**, 2.00 x 512" in out


def test_the_built_in_model_is_asked(
    one_check: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "trials", lambda: [])
    assert main([]) == 0
    out = capsys.readouterr().out
    assert "| Transcribe the speech. | cpu | 4719 | 4719 | agrees |" in out
    assert "| What is 12 + 7? | cpu | 19 | 19 | agrees |" in out
    assert out.endswith("5 checks: all agree\n")


def fail(_: object) -> None:
    raise RuntimeError("[METAL] Command buffer execution failed: Insufficient Memory")


def test_a_wrong_kernel_fails_and_a_mac_says_how_it_is(
    one_check: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = [Check("decode", "gpu", "9e-2", "3e-2", False, 3.0)]
    monkeypatch.setattr(kernels, "kernel_checks", lambda: iter(wrong))
    monkeypatch.setattr(checks, "trials", lambda: [])
    monkeypatch.setattr(checks, "questions_answered", lambda: iter(()))
    mac = replace(machine.this_machine(), system="macOS 26.1 (25B78) arm64", device="gpu")
    monkeypatch.setattr(machine, "this_machine", lambda: mac)
    monkeypatch.setattr(power, "said_by", lambda *_: "")
    assert main([]) == 1
    out = capsys.readouterr().out
    assert "macOS 26.1 (25B78) arm64, on the gpu" in out
    assert "- power mode unknown, unknown source; thermal state: unknown\n" in out
    assert "**1 wrong kernel**, as this is more than rounding: decode on the gpu: 3 x what it may be" in out


def test_what_fits_is_planned(
    one_check: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from gemma4_mlx.engine import memory

    monkeypatch.setattr(checks, "trials", lambda: [])
    monkeypatch.setattr(checks, "questions_answered", lambda: iter(()))
    monkeypatch.setattr(steps, "measured_steps", fail)
    monkeypatch.setattr(memory, "budget", lambda: memory.Budget(10_355_000_000, 545_000_000))
    assert main([]) == 0
    out = capsys.readouterr().out
    assert "prefill step: not measured, the device ran out of memory: close other programs" in out
    lines = [line for line in out.splitlines() if line.startswith("- planned")]
    assert "12B with 4 bits: 7.6 GB at 8,192 tokens of 10.4 GB" in lines[0]
    assert "12B with 8 bits: 13.5 GB at 8,192 tokens of 10.4 GB" in lines[1]
    assert lines[1].endswith("longest context 0 with 16-bit caches, 0 with 8-bit caches, 0 with 4-bit caches")
