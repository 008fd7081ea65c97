"""What every command does alike, tried with a command that does whatever the test asks for."""

import argparse
import json
import os
import pty
import signal
import subprocess
import sys
import termios
import tty
from collections.abc import Callable
from pathlib import Path

import pytest

from gemma4_mlx.commands.common import add_debug, run
from gemma4_mlx.errors import GemmaError, note

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = """
import argparse, os, sys
from gemma4_mlx.commands.common import add_debug, run
parser = argparse.ArgumentParser()
add_debug(parser)
parser.add_argument("--text", default="")
{body}
sys.exit(run(command, parser, None))
"""
CLOSE = {"<": "<&-", ">": ">&-", "2>": "2>&-"}


class PanicException(BaseException):
    """As Rust libraries raise it: no Exception."""


def execute(command: Callable[[argparse.Namespace], int], *options: str) -> int:
    """The exit code of this command."""
    parser = argparse.ArgumentParser()
    add_debug(parser)
    return run(command, parser, options)


def fail(error: BaseException, *options: str) -> int:
    """The exit code of a command in which this error is raised."""

    def command(_: argparse.Namespace) -> int:
        raise error

    return execute(command, *options)


def say(text: str) -> int:
    """The exit code of a command that prints a text."""

    def command(_: argparse.Namespace) -> int:
        print(text)
        return 0

    return execute(command)


def script(body: str, *words: str, closed: str = "", **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run a command in a process of its own, with some of the standard streams closed by the shell."""
    program = SCRIPT.format(body=body)
    closing = " ".join(CLOSE[name] for name in closed.split())
    return subprocess.run(
        ["sh", "-c", f'"$@" {closing}', "sh", sys.executable, "-c", program, *words],
        capture_output=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        check=False,
    )


@pytest.mark.parametrize(
    ("error", "line", "code"),
    [
        (GemmaError("a.png: is empty"), "a.png: is empty", 1),
        (OSError(28, "No space left on device"), "No space left on device", 1),
        (RuntimeError("[metal::malloc] too much"), "[metal::malloc] too much", 1),
        (MemoryError(), "out of memory (MemoryError); close other programs, or ask for less at once", 1),
        (
            ModuleNotFoundError("No module named 'av'"),
            "a package can't be imported (No module named 'av'); install gemma4_mlx again, with what it needs",
            1,
        ),
        (
            KeyError("x"),
            "KeyError: 'x'; this is a fault of gemma4_mlx: please report it with what --debug prints",
            1,
        ),
        (
            PanicException("index\nout of range"),
            "PanicException: index out of range; "
            "this is a fault of gemma4_mlx: please report it with what --debug prints",
            1,
        ),
        (
            RecursionError("too deep"),
            "RecursionError: too deep; this is a fault of gemma4_mlx: please report it with what --debug prints",
            1,
        ),
    ],
)
def test_any_exception_is_one_line(
    error: BaseException, line: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fail(error) == code
    assert capsys.readouterr().err == f"error: {line}\n"


def test_an_error_takes_the_place_of_a_status_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("INSIDE_EMACS", "SCRIPT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert fail(GemmaError("x.png: is empty")) == 1
    assert capsys.readouterr().err == "\r\x1b[Kerror: x.png: is empty\n"


def test_wrong_options_are_repeated_without_hidden_characters(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        execute(lambda _: 0, "--debug", "\x1b[2J\u202egpj.exe")
    assert ended.value.code == 2
    assert capsys.readouterr().err.endswith("error: unrecognized arguments: \u241b[2J\ufffdgpj.exe; see --help\n")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--txet", "a"], "unrecognized arguments: --txet a; did you mean --text? --help lists all"),
        (["--texts=a"], "unrecognized arguments: --texts=a; did you mean --text? --help lists all"),
        (["--zzz"], "unrecognized arguments: --zzz; see --help"),
    ],
)
def test_a_flag_that_is_like_another_is_asked_about(
    words: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    add_debug(parser)
    parser.add_argument("--text")
    with pytest.raises(SystemExit):
        run(lambda _: 0, parser, words)
    assert capsys.readouterr().err == f"error: {line}\n"


def test_debug_adds_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert fail(KeyError("x"), "--debug") == 1
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert said.endswith("please report it with what --debug prints\n")


def test_ctrl_c_and_exits_are_no_errors(capsys: pytest.CaptureFixture[str]) -> None:
    assert fail(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == "note: stopped by Ctrl-C\n"
    with pytest.raises(SystemExit):
        fail(SystemExit(5))
    assert capsys.readouterr().err == ""


def test_a_note_is_a_line_on_stderr(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    def command(_: argparse.Namespace) -> int:
        note("a.flac: 2 of 3 s are there")
        return 0

    assert execute(command) == 0
    assert capsys.readouterr().err == "note: a.flac: 2 of 3 s are there\n"
    note("a library's caller reads it from the log")
    assert [record.getMessage() for record in caplog.records] == [
        "a.flac: 2 of 3 s are there",
        "a library's caller reads it from the log",
    ]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("closed", ["<", ">", "2>", "< > 2>"])
def test_files_do_not_take_the_numbers_of_closed_streams(closed: str, tmp_path: Path) -> None:
    """Nor is an answer lost in silence if there is no stdout."""
    body = f"""
def command(args):
    with open({str(tmp_path / "kept")!r}, "w") as kept:
        print("answer"); print("said", file=sys.stderr)
        kept.write(f"{{kept.fileno() > 2}} {{sys.stdin.read()!r}} {{sys.stdin.isatty()}}")
    return 0
"""
    done = script(body, closed=closed)
    lost = b"error: the output can't be written (it is closed); send it elsewhere\n"
    assert done.returncode == (1 if ">" in closed.split() else 0)
    assert (tmp_path / "kept").read_text().startswith("True ''")
    assert done.stdout == (b"" if ">" in closed.split() else b"answer\n")
    said = b"said\n" + (lost if ">" in closed.split() else b"")
    assert done.stderr == (b"" if "2>" in closed.split() else said)


FULL = Path("/dev/full")
FULL_LINE = b"error: the output can't be written (No space left on device); is the disk full?\n"
PRINTS = SCRIPT.format(
    body="""
def command(args):
    for number in range(5000):
        print("answer"); print("said", file=sys.stderr, flush=True)
    return 0
"""
)


def to_shell(line: str, *words: str) -> subprocess.CompletedProcess[bytes]:
    """Run Python with these words, as a line of the shell says."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = ["sh", "-c", line, "sh", sys.executable, *words]
    return subprocess.run(command, capture_output=True, env=environment, check=False)


@pytest.mark.skipif(not FULL.exists(), reason="no device that is always full")
@pytest.mark.parametrize("words", [["--version"], ["generate", "--help"], ["list", "--help"]], ids=" ".join)
@pytest.mark.parametrize("to", [">/dev/full", ">&-"])
def test_help_that_is_lost_is_an_error(words: list[str], to: str) -> None:
    done = to_shell(f'"$@" {to}', "-m", "gemma4_mlx", *words)
    closed = b"error: the output can't be written (it is closed); send it elsewhere\n"
    assert (done.returncode, done.stderr) == (1, FULL_LINE if "full" in to else closed)


def test_a_pipe_that_nobody_reads_any_more_ends_in_silence() -> None:
    done = to_shell('{ "$@"; echo $? >&2; } | true', "-c", PRINTS)
    assert done.stderr.replace(b"said\n", b"") == b"1\n"


@pytest.mark.skipif(not FULL.exists(), reason="no device that is always full")
@pytest.mark.parametrize("to", ["2>/dev/full", "2>&-"])
def test_notes_that_are_lost_cost_no_answer(to: str) -> None:
    done = to_shell(f'"$@" {to}', "-c", PRINTS)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"answer\n" * 5000, b"")


ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def test_a_pipe_gets_utf8_whatever_the_locale() -> None:
    body = r"""
def command(args):
    import json
    print(json.dumps({"a": "Gr\u00fc\u00dfe \U0001f600"}, ensure_ascii=False))
    return 0
"""
    done = script(body, **ASCII)
    assert done.returncode == 0
    assert json.loads(done.stdout) == {"a": "Gr\u00fc\u00dfe \U0001f600"}


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("Gr\u00fc\u00dfe".encode(), b"is UTF-8, but the locale is not: set PYTHONUTF8=1\n"),
        (b"Gr\xfc", b"is not UTF-8 text; write it in UTF-8\n"),
    ],
)
def test_words_that_the_locale_cannot_read(word: bytes, line: bytes) -> None:
    done = script("def command(args): return 0", "--text", os.fsdecode(word), **ASCII)
    assert done.returncode == 2
    assert done.stderr.endswith(line)


def test_half_a_character_is_shown_and_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert say("a\ud800b") == 0
    assert capsys.readouterr().out == "a\\ud800b\n"


WAIT = """
def command(args):
    import time
    try:
        print("ready", flush=True)
        time.sleep(30)
    finally:
        print("cleaned", flush=True)
"""


@pytest.mark.parametrize(
    ("sent", "code", "said"),
    [
        ([signal.SIGTERM], 143, b"ready\ncleaned\n"),
        ([signal.SIGHUP], 129, b"ready\ncleaned\n"),
        ([signal.SIGTERM, signal.SIGTERM], 143, b"ready\ncleaned\n"),
        ([signal.SIGINT], 130, b"ready\ncleaned\n"),
    ],
)
def test_a_signal_ends_a_command_like_an_exception(sent: list[int], code: int, said: bytes) -> None:
    program = [sys.executable, "-c", SCRIPT.format(body=WAIT)]
    process = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)
    assert process.stdout is not None
    first = process.stdout.readline()
    for number in sent:
        process.send_signal(number)
    rest, err = process.communicate(timeout=20)
    noted = b"note: stopped by Ctrl-C\n" if sent == [signal.SIGINT] else b""
    assert (first + rest, err, process.returncode) == (said, noted, code)


def test_hanging_up_is_ignored_if_it_was_before() -> None:
    """As nohup asks for."""
    body = """
def command(args):
    import os, signal
    os.kill(os.getpid(), signal.SIGHUP)
    print("still here")
    return 0
"""
    program = SCRIPT.format(body=f"import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n{body}")
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=False)
    assert (done.stdout, done.returncode) == (b"still here\n", 0)


def test_handlers_are_those_of_before_afterwards() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)]
    assert say("done") == 0
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)] == before


def test_a_terminal_that_was_left_raw_is_restored(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    outer, inner = pty.openpty()
    kept, before = os.dup(0), termios.tcgetattr(inner)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}

    def end_in_raw_mode(_: argparse.Namespace) -> int:
        tty.setraw(0)
        os.kill(os.getpid(), signal.SIGTERM)
        return 0

    os.dup2(inner, 0)
    try:
        assert execute(end_in_raw_mode) == 143
        assert termios.tcgetattr(inner) == before
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.dup2(kept, 0)
        for number in (kept, outer, inner):
            os.close(number)
    assert capsys.readouterr().out == "\x1b[?2004l\x1b[?25h"
