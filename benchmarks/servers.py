"""Engines in processes of their own: starting them, asking them, ending them."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.rows import ROOT, FailedError

Server = subprocess.Popen[str]


@contextmanager
def served(python: str, engine: str, folder: Path) -> Iterator[Server]:
    """An engine's process, ended with the block; raises FailedError if its interpreter doesn't start."""
    command = [python, "-m", "benchmarks.peers", engine, str(folder)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    try:
        started = subprocess.Popen(command, cwd=ROOT, text=True, **pipes)
    except OSError as error:
        raise FailedError(f"does not start: {error}") from error
    with started as process:
        try:
            yield process
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait()


def answer(process: Server) -> dict[str, float]:
    """The next line of an engine's answers; raises FailedError for what it could not do."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise FailedError("ended without an answer")
    found: dict[str, Any] = json.loads(line)
    if "failed" in found:
        raise FailedError(found["failed"])
    return found


def ask(process: Server, task: str, **request: Any) -> dict[str, float]:
    """What comes back for one request."""
    assert process.stdin is not None
    try:
        print(json.dumps({"task": task} | request), file=process.stdin, flush=True)
    except BrokenPipeError as error:
        raise FailedError("ended without an answer") from error
    return answer(process)


@contextmanager
def servers(pythons: Mapping[str, str], folder: Path) -> Iterator[dict[str, Server | str]]:
    """Every engine with the checkpoint loaded, each in a process of its own, or why it could not load it."""
    with ExitStack() as stack:
        yield {engine: loaded(stack, python, engine, folder) for engine, python in pythons.items()}


def loaded(stack: ExitStack, python: str, engine: str, folder: Path) -> Server | str:
    """An engine's process once it has loaded, until the stack unwinds, or the reason why it never will."""
    try:
        process = stack.enter_context(served(python, engine, folder))
        answer(process)
    except FailedError as error:
        return str(error)
    return process
