"""The comparison with other engines: what it runs, and how it reads the figures."""

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.compare import WORKER, engine_commands, named, table


def test_ratios_are_those_of_the_same_round() -> None:
    rounds = {
        "pp64": {"gemma4_mlx": [1.0, 4.0, 3.0], "mlx-lm": [2.0, 4.0, 12.0]},
        "caches @ d64": {"gemma4_mlx": [1e6] * 3, "mlx-lm": [4e6] * 3},
    }
    assert table(rounds).splitlines() == [
        "| test | gemma4_mlx | mlx-lm | ratio |",
        "| --- | --- | --- | --- |",
        "| pp64 | 3.000 s | 4.000 s | 0.50 (0.25-1.00) |",
        "| caches @ d64 | 1.00 MB | 4.00 MB | 0.25 (0.25-0.25) |",
    ]


def test_names() -> None:
    tests = ("prefill_s", "decode_s", "kv_bytes", "peak_bytes")
    expected = ["pp512", "tg64 @ d512", "caches @ d512", "peak memory @ d512"]
    assert [named(test, 512, 64) for test in tests] == expected


def test_only_this_package_quantizes_its_caches() -> None:
    commands = engine_commands(Path("x"), 8, "python-of-vlm")
    assert {engine: command[0] for engine, command in commands.items()} == {
        "gemma4_mlx": sys.executable,
        "mlx-lm": sys.executable,
        "mlx-vlm": "python-of-vlm",
    }
    assert [engine for engine, command in commands.items() if command[-2:] == ["--kv-bits", "8"]] == ["gemma4_mlx"]
    assert list(engine_commands(Path("x"), None, None)) == ["gemma4_mlx", "mlx-lm"]


def test_an_engine_answers_line_by_line(tiny_folder: Path) -> None:
    command = [sys.executable, str(WORKER), "gemma4_mlx", str(tiny_folder), "--kv-bits", "8"]
    request = json.dumps({"prompt": 20, "reply": 3})
    done = subprocess.run(command, input=f"{request}\n{request}\n", capture_output=True, text=True, check=True)
    loaded, first, second = map(json.loads, done.stdout.splitlines())
    assert loaded["load_s"] > 0
    assert first["kv_bytes"] == second["kv_bytes"] > 0
    assert min(first["prefill_s"], first["decode_s"], first["peak_bytes"]) > 0
