"""The comparison with other engines: how figures are taken, kept and shown, and what an engine answers."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import compare
from benchmarks.environments import interpreters
from benchmarks.rows import ROOT, FailedError, Row, absent, alternate, read, run, save, table, written
from benchmarks.sections import renamed
from benchmarks.servers import answer, ask, served


def row(**figures: list[float]) -> Row:
    named = {
        engine.replace("_", "-") if engine != "gemma4_mlx" else engine: values for engine, values in figures.items()
    }
    return Row("Text", "pp64", "s", "python -m x", named, {"transformers": "not installed"})


def test_ratios_are_those_of_the_same_round() -> None:
    measured = row(gemma4_mlx=[1.0, 4.0, 3.0], mlx_lm=[2.0, 4.0, 12.0])
    assert measured.ratios("mlx-lm") == [0.5, 1.0, 0.25]
    assert table([measured]).splitlines() == [
        "| test | gemma4_mlx | mlx-lm | ratio | mlx-vlm | ratio | transformers | ratio |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        "| pp64 | 3.000 s | 4.000 s | 0.50 (0.25-1.00) | - | - | - | - |",
        "pp64, transformers: not installed",
    ]


def test_engines_take_turns_and_the_first_round_only_warms_up() -> None:
    calls: list[str] = []

    def measure(engine: str) -> dict[str, float]:
        calls.append(engine)
        return {"a": float(len(calls)), "b": 0.5}

    (a, b) = alternate("S", "c", {"x": lambda: measure("x"), "y": lambda: measure("y")}, {"a": "s", "b": "bytes"}, 2)
    assert calls == ["x", "y"] * 3
    assert a.figures == {"x": [3.0, 5.0], "y": [4.0, 6.0]}
    assert (b.unit, b.figures) == ("bytes", {"x": [0.5, 0.5], "y": [0.5, 0.5]})


def test_what_is_missing_says_why() -> None:
    def fail() -> dict[str, float]:
        raise FailedError("cannot do it")

    measures = {"x": lambda: {"a": 1.0}, "y": fail, "z": "not installed"}
    (a, b) = alternate("S", "c", measures, {"a": "s", "b": "s"}, 1)
    assert (a.figures, a.missing) == ({"x": [1.0]}, {"y": "cannot do it", "z": "not installed"})
    assert (b.figures, b.missing["x"]) == ({}, "it does not count that")


def test_a_failing_engine_is_not_asked_again() -> None:
    answers = iter([{"a": 1.0}, {"a": 2.0}])

    def measure() -> dict[str, float]:
        try:
            return next(answers)
        except StopIteration:
            raise FailedError("ended") from None

    (a,) = alternate("S", "c", {"x": measure, "y": lambda: {"a": 5.0}}, {"a": "s"}, 3)
    assert (a.figures, a.missing) == ({"y": [5.0] * 3}, {"x": "ended"})


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (0.1234, "s", "0.123 s"),
        (12.34, "s", "12.3 s"),
        (5440.0, "bytes", "5,440 B"),
        (469762048.0, "bytes", "469.8 MB"),
        (2483027968.0, "bytes", "2.48 GB"),
        (1.234, "ms", "1.23 ms"),
    ],
)
def test_figures_have_units(value: float, unit: str, expected: str) -> None:
    assert written(value, unit) == expected


def test_only_environments_that_are_there_are_used(tmp_path: Path) -> None:
    python = tmp_path / "mlx-vlm" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    found = interpreters(tmp_path)
    assert found == {"gemma4_mlx": sys.executable, "mlx-vlm": str(python)}
    assert absent(found) == {"mlx-lm": "not installed", "transformers": "not installed"}


def test_a_file_keeps_the_sections_that_did_not_run(tmp_path: Path) -> None:
    file = tmp_path / "compare.json"
    old, other = row(gemma4_mlx=[1.0]), Row("Media", "m", "s", "c", {"gemma4_mlx": [7.0]}, {})
    save(file, [old], {"mlx-vlm": {"mlx-vlm": "1.0"}})
    save(file, [other], {"mlx-vlm": {"mlx-vlm": "2.0"}})
    save(file, [new := row(gemma4_mlx=[2.0])], {"mlx-vlm": {"mlx-vlm": "2.0"}})
    content, rows = read(file)
    assert rows == [other, new]
    assert content["versions"] == {"mlx-vlm": {"mlx-vlm": "2.0"}}
    assert content["measured"].keys() == {"Text", "Media"}


def test_figures_get_the_names_of_tests() -> None:
    assert renamed({"first": 1.0, "tokens": 5}, {"first": "to the first token"}) == {"to the first token": 1.0}


def test_a_command_that_fails_gives_the_last_line_of_its_errors() -> None:
    with pytest.raises(FailedError, match="no such thing"):
        run([sys.executable, "-c", "import sys; sys.exit('much\\nno such thing')"])


def test_an_engine_answers_line_by_line(tiny_folder: Path) -> None:
    with served(sys.executable, "gemma4_mlx", tiny_folder) as process:
        assert answer(process)["load"] > 0
        first, second = (ask(process, "reply", prompt=20, reply=3) for _ in range(2))
        assert first["caches"] == second["caches"] > 0
        assert min(first["prefill"], first["decode"], first["peak"]) > 0
        messages = [{"role": "user", "content": "Hello"}]
        assert ask(process, "turn", messages=messages, picture=None, reply=2)["first"] > 0
        steps = ask(process, "graph", steps=6)
        assert 0 < steps["graph"] < steps["step"]
        with pytest.raises(FailedError, match="ValueError"):
            ask(process, "reply", prompt=0, reply=3)


def test_the_look_at_a_picture_counts_its_tokens(tiny_folder: Path, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    image.new("RGB", (96, 48)).save(tmp_path / "a.png")
    with served(sys.executable, "gemma4_mlx", tiny_folder) as process:
        answer(process)
        texts = ("b", "b b", "b b b")
        one, two, three = (ask(process, "look", text=text, picture=str(tmp_path / "a.png")) for text in texts)
        assert three["tokens"] - two["tokens"] == two["tokens"] - one["tokens"] > 0
        assert one["resident"] > one["peak"] > 0


def test_caches_at_published_shapes(tmp_path: Path) -> None:
    """Eight full layers of 512 numbers, of which 128 turn, and forty sliding ones of 2 x 8 x 256 that are full."""
    from benchmarks.shapes import full_size_config

    (tmp_path / "config.json").write_text(json.dumps(full_size_config()), encoding="utf-8")
    sizes = []
    for positions in ("4096", "8192"):
        command = [
            sys.executable,
            "-m",
            "benchmarks.cache_sizes",
            "gemma4_mlx",
            str(tmp_path / "config.json"),
            positions,
        ]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        sizes.append(json.loads(done.stdout)["bytes"])
    assert sizes[1] - sizes[0] == 4096 * 8 * (512 + 128) * 2
    assert sizes[0] - 4096 * 8 * 640 * 2 == 40 * 16 * 256 * 2 * (1024 - 1 + 16 + 48)


REASONS = {
    "fails to import": "RuntimeError: operator torchvision::nms does not exist",
    "ends": "ended without an answer",
    "is no program": "does not start: ",
}
BROKEN = {
    "fails to import": f"#!/bin/sh\necho '{json.dumps({'failed': REASONS['fails to import']})}'\nexit 1\n",
    "ends": "#!/bin/sh\nexit 1\n",
    "is no program": "\x7fELF",
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_engine_is_a_reason_in_the_rows(
    tmp_path: Path, tiny_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Every other engine is measured, and the file names no versions for the broken one."""
    python = tmp_path / "peers" / "transformers" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(BROKEN[how])
    python.chmod(0o755)
    options = ["--peers", str(tmp_path / "peers"), "--only", "text", "-r", "1", "-p", "20", "-n", "2"]
    output = tmp_path / "compare.json"
    monkeypatch.setattr("sys.argv", ["compare", *options, "--folder", str(tiny_folder), "--output", str(output)])
    compare.main()
    content, rows = read(output)
    assert len(rows) == 4
    assert all(row.figures.keys() == {"gemma4_mlx"} for row in rows)
    assert all(row.missing["transformers"].startswith(REASONS[how]) for row in rows)
    assert content["versions"]["transformers"] == {}
    assert f"prompt of 20 tokens, transformers: {REASONS[how]}" in capsys.readouterr().out


def test_an_engine_that_can_not_load_says_why(tmp_path: Path) -> None:
    """Its own process answers in one line, whatever its libraries raise."""
    (tmp_path / "config.json").write_text("[]")
    with served(sys.executable, "gemma4_mlx", tmp_path) as process, pytest.raises(FailedError, match="GemmaError: "):
        answer(process)
