"""Benchmarks say how long they take, and clean up when they are stopped."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPT = """
import os, sys, tempfile
from benchmarks.running import run_benchmark
def main():
    with tempfile.TemporaryDirectory(dir=sys.argv[1]):
        os.kill(os.getpid(), int(sys.argv[2]))
        sys.stdin.read()
run_benchmark(main, "a moment")
"""


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [(signal.SIGINT, 130, "stopped\n"), (signal.SIGTERM, 143, ""), (signal.SIGHUP, 129, "")],
)
def test_a_benchmark_that_is_stopped_leaves_nothing(number: int, code: int, said: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), str(int(number))]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.read() == f"takes a moment on two cores\n{said}"
    assert process.returncode == code
    assert list(tmp_path.iterdir()) == []


def test_every_benchmark_that_takes_long_says_so() -> None:
    quick = {"cache_sizes", "fit_table", "memory", "peers", "resources", "summary"}
    commands = {path.stem: path.read_text() for path in (ROOT / "benchmarks").glob("*.py")}
    commands = {name: text for name, text in commands.items() if '__name__ == "__main__"' in text}
    assert {name for name, text in commands.items() if "run_benchmark(main, " not in text} == quick
