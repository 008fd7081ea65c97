"""The chat in a real terminal, and what it leaves of it when it is told to end."""

import os
import pty
import select
import signal
import subprocess
import sys
import termios
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LINE_EDITED = termios.ECHO | termios.ICANON | termios.ISIG


def read_until(terminal: int, end: bytes) -> bytes:
    """What was sent to the terminal until this was."""
    said = b""
    while end not in said:
        assert select.select([terminal], [], [], 60)[0], said
        said += os.read(terminal, 4096)
        if said.endswith(b"\x1b[6n"):  # where is the cursor?
            os.write(terminal, b"\x1b[1;1R")
    return said


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_the_terminal_is_as_it_was(number: int, code: int) -> None:
    terminal, inner = pty.openpty()
    before = termios.tcgetattr(inner)
    program = [sys.executable, "-m", "gemma4_mlx.chat", "--model", "nano"]
    environment = os.environ | {"TERM": "xterm"}
    process = subprocess.Popen(program, stdin=inner, stdout=inner, stderr=inner, cwd=ROOT, env=environment)
    try:
        sent = read_until(terminal, b"\x1b[?2004h")  # the line editor is there
        assert not termios.tcgetattr(inner)[3] & LINE_EDITED
        process.send_signal(number)
        assert process.wait(30) == code
        assert termios.tcgetattr(inner)[3] == before[3]
        while select.select([terminal], [], [], 0)[0]:
            sent += os.read(terminal, 4096)
        assert sent.rfind(b"\x1b[?25l") <= sent.rfind(b"\x1b[?25h")
        assert b"Traceback" not in sent
    finally:
        process.kill()
        os.close(terminal)
        os.close(inner)
