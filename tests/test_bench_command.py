"""The benchmark's command: its rows, its formats, its refusals."""

import json
import subprocess
import sys
from pathlib import Path

import mlx.core as mx
import pytest

from gemma4_mlx.commands import bench
from gemma4_mlx.commands.bench import main
from gemma4_mlx.errors import GemmaError

QUICK = ["-m", "nano", "-p", "8", "-n", "3", "-r", "2", "--no-first-token"]


def test_rows_are_named_as_in_llama_bench(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*QUICK, "-d", "0,300", "-o", "json"]) == 0
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert [row["test"] for row in report["rows"]] == ["pp8", "tg3", "pp8 @ d300", "tg3 @ d300"]
    assert all(len(row["values"]) == 2 and min(row["values"]) > 0 for row in report["rows"])
    assert report["checkpoint"]["kv_bytes_per_token"] == 160  # one full layer: (16 + 48 + 16) numbers of 2 bytes
    assert len(report["checkpoint"]["fingerprint"]) == 64
    assert err == ""


def test_quantized_caches_and_bounds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*QUICK, "--kv-bits", "8", "--roofline"]) == 0
    out = capsys.readouterr().out
    assert "nano on Apple's chips. **A model, not a measurement" in out
    assert "measured / bound" in out
    assert "- caches: 8 bits, 204 bytes a token" in out  # three parts of 64 numbers with a scale and a bias each


def test_guesses_ahead_have_rows_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-m", "nano", "-p", "0", "-n", "40", "-r", "2", "--no-first-token", "--drafting", "-o", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    names = ["tg40", "guesses by looking text up, tg40", "guesses by looking text up, tg40, a pass"]
    assert [row["test"] for row in rows] == names
    assert [row["unit"] for row in rows] == ["tokens/s", "tokens/s", "tokens"]
    assert rows[2]["mean"] > 1.0


def test_bounds_alone_need_no_checkpoint(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GEMMA4_MODEL", raising=False)
    assert main(["--roofline", "-r", "0", "-d", "1024"]) == 0
    assert capsys.readouterr().out.startswith("Gemma 4 12B on Apple's chips. ")


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["-r", "0"], "-r 0 measures nothing"),
        (["-r", "0", "--roofline", "-o", "json"], "-r 0 measures nothing"),
        (["-r", "-1"], "-r must be"),
        (["--prefill-step-size", "0"], "--prefill-step-size from 1"),
        ([*QUICK, "-n", "0", "--drafting"], "drafting is measured in a reply, and -n 0 asks for none"),
        (["--plot", "/nowhere/out.png"], "/nowhere/out.png: the picture can't be written (there is no folder"),
        (["--plot", "/tmp"], "/tmp: the picture can't be written (it is a folder); name it .png, .svg or .pdf"),
        (
            ["--plot", "out.nonsense"],
            "out.nonsense: the picture can't be written (no format is called nonsense)",
        ),
        (["--plot", "/dev/null"], "/dev/null: the picture can't be written (it is a device or a pipe)"),
        (["-p", "0", "-n", "0"], "-p 0 and -n 0 leave nothing to measure"),
        (["-p", "0,0", "-n", "0", "--no-first-token"], "-p 0 and -n 0 leave nothing to measure"),
        (["-m", "nano", "-p", "0", "-n", "0", "--roofline"], "-p 0 and -n 0 leave nothing to measure"),
        ([*QUICK, "-d", "131072"], "pp8 @ d131072: more than the model's context of 131072 tokens"),
    ],
)
def test_wrong_usage(arguments: list[str], what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert what in capsys.readouterr().err


@pytest.mark.parametrize("value", ["", "a", "1,,2", "-5"])
def test_lists_of_numbers(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        main([f"-d={value}"])
    assert exit.value.code == 2
    assert "whole numbers separated by commas" in capsys.readouterr().err


def test_an_interrupt_keeps_what_is_done(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from gemma4_mlx.measure import run

    real = run.run_job

    def interrupted(model, job, *rest):  # type: ignore[no-untyped-def]
        if job.kind == "tg":
            raise KeyboardInterrupt
        return real(model, job, *rest)

    monkeypatch.setattr(run, "run_job", interrupted)
    assert main([*QUICK, "-o", "json"]) == 130
    assert [row["test"] for row in json.loads(capsys.readouterr().out)["rows"]] == ["pp8"]


def test_an_error_keeps_what_is_done(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from gemma4_mlx.measure import drafting

    def fail(*_: object, **__: object) -> None:
        raise GemmaError("no more")

    monkeypatch.setattr(drafting, "stream_generate", fail)
    assert main([*QUICK, "--drafting", "-o", "json"]) == 1
    out, err = capsys.readouterr()
    assert [row["test"] for row in json.loads(out)["rows"]] == ["pp8", "tg3"]
    assert err == "error: no more\n"


def test_a_wrong_drafter_is_told_before_anything_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*QUICK, "--draft-model", "/nowhere/drafter"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "/nowhere/drafter" in err


def test_a_long_run_says_how_long_first(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "LONG_RUN", 0)
    assert main(QUICK) == 0
    assert capsys.readouterr().err.startswith("this takes about ")


def test_the_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    assert main([*QUICK, "--plot", str(tmp_path / "out.png")]) == 0
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")


def test_each_length_has_a_line_of_its_own_in_the_picture() -> None:
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    from gemma4_mlx.measure import plot
    from gemma4_mlx.measure.report import Row

    lengths, depths = (16, 128, 512, 1024, 2048), (0, 1000)
    rows = [
        Row(f"{kind}{tokens}", "tokens/s", [1.0, 2.0], 1, tokens, depth)
        for kind in ("pp", "tg")
        for tokens in lengths
        for depth in depths
    ]
    axes = Figure().subplots()
    plot._draw_speed(axes, rows)
    handles, labels = axes.get_legend_handles_labels()
    assert labels == [
        *(f"reading the prompt (pp{tokens})" for tokens in lengths),
        *(f"writing the reply (tg{tokens})" for tokens in lengths),
    ]
    looks = {(line[0].get_color(), line[0].get_marker()) for line in handles}
    assert len(looks) == 2 * len(lengths)
    assert len({line[0].get_linestyle() for line in handles[:4]}) == 4


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (["-m", "/nowhere/model"], "/nowhere/model: no such folder"),
        (["-m", "{folder}"], "no config.json there"),
        (["-m", "nano", "--draft-model", "/nowhere/drafter"], "/nowhere/drafter: no such folder"),
        (["-m", "nano", "--draft-model", "{folder}"], "no config.json there"),
        (["-m", "nano", "--plot", "/nowhere/a.png"], "there is no folder /nowhere"),
        (["-m", "nano", "--plot", "{folder}/a.txt"], "no format is called txt"),
    ],
)
def test_wrong_paths_are_told_before_anything_is_printed_loaded_or_measured(
    options: list[str],
    what: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(bench, "roofline_tables", lambda *_: pytest.fail("bounds were counted"))
    monkeypatch.setattr(bench, "measure", lambda *_: pytest.fail("a model was loaded"))
    given = [option.replace("{folder}", str(tmp_path)) for option in options]
    assert main(["--roofline", *given]) in (1, 2)
    out, err = capsys.readouterr()
    assert out == ""
    assert what in err


def test_a_drafter_of_another_model_is_told_before_anything_is_measured(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "add_rows", lambda *_: pytest.fail("something was measured"))
    assert main(["-m", str(tiny_folder), *QUICK[2:], "--draft-model", "nano"]) == 1
    assert "the drafter was made for another model" in capsys.readouterr().err


@pytest.mark.parametrize(("options", "limits"), [([], [11_250_572, 0]), (["--no-wire"], [])])
def test_memory_is_wired_while_it_is_measured(
    options: list[str], limits: list[int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[int] = []
    info = {"max_recommended_working_set_size": 10_900_000_000, "memory_size": 16 * 2**30}
    monkeypatch.setattr(mx, "device_info", lambda: info)
    monkeypatch.setattr(mx.metal, "is_available", lambda: True)
    monkeypatch.setattr(mx, "set_wired_limit", lambda size: told.append(size) or 0)
    assert main([*QUICK, *options]) == 0
    assert told == pytest.approx(limits, rel=0.1)


@pytest.mark.parametrize("command", ["bench", "doctor"])
def test_help_imports_nothing_heavy(command: str) -> None:
    code = (
        "import sys\n"
        f"from gemma4_mlx.commands.{command} import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print([name for name in ('mlx', 'numpy', 'matplotlib', 'mlx_lm', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
