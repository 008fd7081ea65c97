"""The chat in a real terminal, and what it leaves of it when it is told to end."""

import os
import pty
import select
import signal
import stat
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


def read_to_the_end(terminal: int, process: "subprocess.Popen[bytes]") -> bytes:
    """What a process sends to the terminal until it ends: one that nobody reads from could wait for ever."""
    said = b""
    for _ in range(600):
        ended = process.poll() is not None
        while select.select([terminal], [], [], 0 if ended else 0.1)[0]:
            said += os.read(terminal, 4096)
        if ended:
            break
    return said


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_the_terminal_is_as_it_was(number: int, code: int, tmp_path: Path) -> None:
    terminal, inner = pty.openpty()
    before = termios.tcgetattr(inner)
    program = [sys.executable, "-m", "gemma4_mlx.chat", "--model", "nano"]
    environment = os.environ | {"TERM": "xterm", "INSIDE_EMACS": "", "SCRIPT": "", "XDG_STATE_HOME": str(tmp_path)}
    process = subprocess.Popen(program, stdin=inner, stdout=inner, stderr=inner, cwd=ROOT, env=environment)
    try:
        sent = read_until(terminal, b"\x1b[?2004h")  # the line editor is there
        assert not termios.tcgetattr(inner)[3] & LINE_EDITED
        process.send_signal(number)
        sent += read_to_the_end(terminal, process)
        assert process.wait(30) == code
        assert termios.tcgetattr(inner)[3] == before[3]
        assert sent.rfind(b"\x1b[?25l") <= sent.rfind(b"\x1b[?25h")
        assert b"Traceback" not in sent
    finally:
        process.kill()
        os.close(terminal)
        os.close(inner)


SLOW = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from dataclasses import replace
from gemma4_mlx import api
stream = api.stream_generate
def slow(*args, **options):
    response = next(stream(*args, **options))
    for word in ("one", "two", "three"):
        yield replace(response, text=f"{word} ", channel="answer", finish_reason=None)
        os.read(int(sys.argv[1]), 1)
    yield replace(response, text="", channel="answer", finish_reason="stop")
def answer(*args, **options):
    return slow(*args, **options)
api.stream_generate = answer
from gemma4_mlx.commands.chat import main
sys.exit(main(["--model", "nano"]))
"""
"""A chat whose answers have three words; after each it waits for a byte in the pipe that it is given."""


def test_what_is_typed_during_an_answer_is_the_next_question(tmp_path: Path) -> None:
    terminal, inner = pty.openpty()
    termios.tcsetwinsize(inner, (24, 80))
    before = termios.tcgetattr(inner)
    steps, step = os.pipe()
    environment = os.environ | {
        "TERM": "xterm",
        "INSIDE_EMACS": "",
        "SCRIPT": "",
        "XDG_STATE_HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT),
    }
    program = [sys.executable, "-c", SLOW, str(steps)]
    process = subprocess.Popen(
        program, stdin=inner, stdout=inner, stderr=inner, env=environment, pass_fds=[steps], start_new_session=True
    )
    try:
        read_until(terminal, b"\x1b[?2004h")
        os.write(terminal, b"Hello\r")
        read_until(terminal, b"one")
        assert not termios.tcgetattr(inner)[3] & termios.ECHO
        os.write(terminal, b"Who are you?\r/exi")
        os.write(step, b"123")
        said = read_until(terminal, b"Who are you?")  # at the prompt
        assert b"Who" not in said[: said.index(b"three")]
        read_until(terminal, b"one")
        os.write(terminal, b"t\r")
        os.write(step, b"123")
        assert process.wait(60) == 0
        assert termios.tcgetattr(inner) == before
        history = tmp_path / "gemma4_mlx" / "chat_history"
        assert history.read_text().split() == ["+Hello", "+Who", "are", "you?", "+/exit"]
        assert stat.S_IMODE(history.stat().st_mode) == 0o600
    finally:
        process.kill()
        process.wait()
        for handle in (terminal, inner, steps, step):
            os.close(handle)
