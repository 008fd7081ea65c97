"""How a command's process begins: Ctrl-C at any moment ends it without a traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gemma4_mlx.commands import start

ROOT = Path(__file__).resolve().parent.parent
INTERRUPTING = "import signal\nsignal.raise_signal(signal.SIGINT)\nprint('imported', flush=True)\n"
COUNTING = """
import os, signal, sys
calls = 0
def count(frame, event, _):
    global calls
    if event == "call" and not calls and frame.f_code.co_name != "start":
        return
    calls += event == "call"
    if event == "call" and calls == {at}:
        os.kill(os.getpid(), signal.SIGINT)
sys.setprofile(count)
sys.argv = ["generate", "-p", "-"]
from gemma4_mlx.generate import main
sys.exit(main())
"""


def python(code: str, *, folder: Path = ROOT) -> subprocess.CompletedProcess[bytes]:
    """Run code whose standard input never ends."""
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"}
    reading, writing = os.pipe()
    try:
        words = [sys.executable, "-c", code]
        return subprocess.run(words, capture_output=True, env=environment, stdin=reading, check=False)
    finally:
        os.close(reading)
        os.close(writing)


def test_an_import_is_ended_before_ctrl_c_counts(tmp_path: Path) -> None:
    (tmp_path / "interrupting.py").write_text(INTERRUPTING)
    (tmp_path / "lost.py").write_text("class Lost:\n    def __del__(self): raise KeyboardInterrupt\n")
    command = "import sys\ndef main():\n    {}\n    sys.stdin.read()\n"
    for line in ("import interrupting", "import lost; print('imported', flush=True); lost.Lost()"):
        (tmp_path / "fake.py").write_text(command.format(line))
        code = "import sys, fake; sys.modules['gemma4_mlx.commands.fake'] = fake\n"
        done = python(f"{code}from gemma4_mlx.commands.start import start; sys.exit(start('fake'))", folder=tmp_path)
        assert (done.stdout, done.stderr, done.returncode) == (b"imported\n", b"", 130)


@pytest.mark.parametrize("at", [2, 300, 5000])
def test_ctrl_c_at_any_call_of_the_start_leaves_no_traceback(at: int) -> None:
    done = python(COUNTING.format(at=at))
    assert (done.stdout, done.returncode) == (b"", 130)
    assert done.stderr in (b"", b"note: stopped by Ctrl-C\n")  # nobody can say it before the command has begun


def test_every_command_begins_so() -> None:
    for path in sorted((ROOT / "gemma4_mlx" / "commands").glob("*.py")):
        if "def main(" in path.read_text():
            name = "__main__.py" if path.stem == "main" else path.name
            entry = (ROOT / "gemma4_mlx" / name).read_text()
            assert f'start("{path.stem}")' in entry
    assert start.EXIT_INTERRUPTED == 130
