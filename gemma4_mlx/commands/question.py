"""What is asked: the question of the command line, out of a file or standard input, with what is piped in before it.

A pipe that brings nothing is nobody's context: programs, schedulers and remote shells start commands with one that
stays open for ever. So a pipe is waited for as long as it takes only if a shell put this process into a pipeline.
"""

import argparse
import codecs
import io
import os
import re
import select
import stat
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from gemma4_mlx.commands.attachments import STDIN_NAMES, stray_question
from gemma4_mlx.errors import GemmaError, UsageError, note, shortened
from gemma4_mlx.files import system_reason

if TYPE_CHECKING:
    from gemma4_mlx.commands.terminal import Terminal

MOST_INPUT = 32 * 2**20
"""Bytes that are read as a question: four for each character of the longest."""
PATIENCE = 10.0
"""Seconds that a pipe which nobody is known to write into has to bring its first byte."""

ENDS_SENTENCE = ("?", "!", ".", "\u061f", "\u3002", "\uff01", "\uff1f")
IS_FILE_NAME = re.compile(r"\.\w{1,5}$|[*\[\]]")
"""An ending, or a pattern of names."""


def settle_question(args: argparse.Namespace) -> None:
    """Make the question of the words on the command line, or of --prompt; None if there is neither.

    Raises UsageError for two questions, and for words that are files.
    """
    words = args.words
    if not words and args.prompt is None:
        words = _taken_for_media(args)
    for word in words:
        if _is_given_file(word, alone=len(words) == 1):
            cure = "give it to --image, --audio or --video"
            raise UsageError(f"{shortened(word)} is a file: {cure}; @{shortened(word)} asks what is written in it")
    if words and args.prompt is not None:
        first, second = shortened(repr(args.prompt)), shortened(repr(" ".join(words)))
        raise UsageError(f"two questions, --prompt {first} and {second}: leave one out, or put quotes around both")
    if words:
        args.prompt = " ".join(words)


def _taken_for_media(args: argparse.Namespace) -> list[str]:
    """The question among the sources of one option: options of several values take the word after them, too."""
    found = [(kind, word) for kind, word in args.media if _is_question(word)]
    if len(found) != 1 or len(getattr(args, found[0][0])) == 1:
        return []
    kind, word = found[0]
    args.media.remove(found[0])
    getattr(args, kind).remove(word)
    return [word]


def _is_question(word: str) -> bool:
    """Whether a word can be nothing but a question: a sentence that no file has as its name."""
    is_sentence = " " in word.strip() or word.endswith(ENDS_SENTENCE)
    is_source = "://" in word or word.startswith("data:") or IS_FILE_NAME.search(word) or _exists(word)
    return is_sentence and not is_source


def _is_given_file(word: str, *, alone: bool) -> bool:
    return (alone or "." in word) and not word.startswith("@") and word not in STDIN_NAMES and os.path.isfile(word)


def _exists(path: str) -> bool:
    return os.path.lexists(os.path.expanduser(path))


def reads_stdin(question: str | None) -> bool:
    """Whether the question itself is what comes in at standard input."""
    return question is not None and question.removeprefix("@") in STDIN_NAMES and question != "@"


def read_question(args: argparse.Namespace, terminal: "Terminal", *, stdin_is_free: bool) -> None:
    """Put the text of the question into `args.prompt`: out of a file (@FILE), standard input (-), or as it is.

    If nothing else reads standard input, what is piped in stands before it, a blank line between them.
    Raises GemmaError, and UsageError if nothing is asked.
    """
    question = args.prompt
    if reads_stdin(question):
        _say_what_is_read(terminal)
        question = as_text(_read(sys.stdin.buffer), "standard input").strip()
        if not question and args.media:
            raise UsageError("standard input brought no question; --prompt '' asks none on purpose")
    elif question is not None:
        question = out_of_file(question)
    piped = piped_text(terminal) if stdin_is_free else ""
    if question is None and not (piped or args.plan):
        raise UsageError(_no_prompt(args))
    if question and piped:
        terminal.clear()
        note(f"{len(piped):,} characters of standard input are read before the question")
    args.prompt = "\n\n".join(part for part in (piped, question) if part)
    check_question(args)


def _say_what_is_read(terminal: "Terminal") -> None:
    """Say that standard input is read: somebody who types there needs a line of their own, and must know its end."""
    if sys.stdin.isatty():
        terminal.note("reading the question from the keyboard; Ctrl-D on an empty line ends it")
    else:
        terminal.status("reading standard input")


def _no_prompt(args: argparse.Namespace) -> str:
    """What to do if there is no prompt; one that stands among the files is told so."""
    question = stray_question(args)
    if question is None:
        return "no prompt: give --prompt TEXT, or --prompt - to read it from standard input"
    kind = args.media[-1][0]
    return (
        f"no prompt: {shortened(question)!r} is no file, and --{kind} takes every word that follows it; "
        f"write the question before --{kind}, after -- or after --prompt"
    )


def check_question(args: argparse.Namespace) -> None:
    """Raise UsageError if nothing is asked. Media may speak for themselves if the question is empty on purpose.

    A plan needs no question: it is made for an empty one, as that of a chat.
    """
    if not (args.prompt.strip() or args.media or args.plan):
        raise UsageError("the prompt is empty, and there is no image, audio or video: ask something")


def out_of_file(given: str, flag: str = "--prompt") -> str:
    """The text of @FILE, or what is given as it is; @@ and \\@ stand for an @ that is meant."""
    if given.startswith(("@@", "\\@")):
        return given[1:]
    if not given.startswith("@"):
        return given
    name, shown = given[1:], shortened(given)
    meant = f"@{shown} is a {'question' if flag == '--prompt' else 'text'} that begins with an @"
    try:
        with Path(name or os.devnull).expanduser().open("rb") as file:
            text = as_text(_read(file), shortened(name)).strip()
    except FileNotFoundError:
        raise UsageError(f"{flag} {shown}: there is no such file; {meant}") from None
    except (OSError, RuntimeError) as error:  # RuntimeError if there is no home folder
        raise UsageError(f"{flag} {shown}: {system_reason(error)}; give another file") from None
    if not name:
        raise UsageError(f"{flag} @: a name must follow; {meant}")
    if not text:
        raise UsageError(f"{flag} {shown}: the file is empty; write the text into it")
    return text


def as_text(data: bytes, name: str) -> str:
    """Text in UTF-8, or as its byte order mark says. Raises GemmaError for too much, and for what is no text."""
    if len(data) > MOST_INPUT:
        raise GemmaError(f"{name} has more than {MOST_INPUT >> 20} MB; no context holds so much: shorten it")
    marked = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if marked else "utf-8-sig")
    except UnicodeDecodeError:
        media = "media go to --image, --audio or --video"
        raise GemmaError(f"{name} is not UTF-8 text; {media}, and iconv converts text") from None


def _read(file: BinaryIO) -> bytes:
    """At most one byte more than is allowed."""
    return file.read(MOST_INPUT + 1)


def piped_text(terminal: "Terminal") -> str:
    """What is piped in, or in a file that standard input is; empty if it is neither, or brings nothing.

    Raises GemmaError if it is no text.
    """
    if not _brings_something(terminal):
        return ""
    terminal.status("reading standard input")
    try:
        data = _read(sys.stdin.buffer)
    except OSError as error:
        note(f"standard input can't be read ({error.strerror}), and is left alone")
        return ""
    return as_text(data, "standard input").strip("\r\n").rstrip()


def _brings_something(terminal: "Terminal") -> bool:
    """Whether something may be read from standard input without waiting in vain."""
    try:
        handle = sys.stdin.fileno()
        mode = os.fstat(handle).st_mode
    except (OSError, ValueError):  # whoever calls `main` has put something else there
        return isinstance(sys.stdin, io.TextIOWrapper)
    if stat.S_ISREG(mode):
        return _is_unread(handle)
    return (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)) and _comes(handle, terminal)


def _is_unread(handle: int) -> bool:
    """Whether nobody has read from the file yet. Else a loop of the shell is at it, whose next lines it holds."""
    place, size = os.lseek(handle, 0, os.SEEK_CUR), os.fstat(handle).st_size
    if 0 < place < size:
        note("standard input is a file that something else reads, and is left alone; --prompt - would read the rest")
    return place == 0


def _comes(handle: int, terminal: "Terminal") -> bool:
    """Whether a pipe brings something, or its end."""
    terminal.status("waiting for standard input")
    seconds = None if is_in_pipeline() else PATIENCE
    if select.select([handle], [], [], seconds)[0]:
        return True
    cure = "< /dev/null saves the wait, < FILE reads what comes later"
    terminal.clear()
    note(f"standard input is a pipe that brought nothing in {PATIENCE:g} s, and is left alone: {cure}")
    return False


def is_in_pipeline() -> bool:
    """Whether an interactive shell started this process after others, whose process group it is in."""
    with suppress(OSError):
        group, parent = os.getpgrp(), os.getppid()
        same_session = os.getsid(parent) == os.getsid(0)
        return same_session and group not in (os.getpid(), os.getpgid(parent))
    return False
