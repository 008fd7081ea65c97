"""One engine in a process of its own: loads a checkpoint, then does what the lines that come in ask for.

python -m benchmarks.peers ENGINE FOLDER

A line of JSON comes back for each line of JSON that comes in: {"task": NAME, ...} -> figures, or {"failed": reason}.
The first line out is about loading; an engine that can't load ends with it. Nothing of the project is imported but by
its own engine: the interpreter of any environment can run this.
"""

import argparse
import contextlib
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.engines import ENGINES, step_seconds

Figures = dict[str, float]


def reply(engine: Any, prompt: int, reply: int) -> Figures:
    """A prompt of random tokens and a reply: seconds to the first token and from there to the last; bytes."""
    import numpy as np

    ids = np.random.default_rng(0).integers(64, engine.vocabulary, prompt).tolist()
    reset_peak(engine)
    started = time.perf_counter()
    tokens, cache_bytes = engine.reply(ids, reply + 1)
    next(tokens)
    first = time.perf_counter()
    written = sum(1 for _ in tokens)
    finished = time.perf_counter()
    assert written == reply, f"{written} tokens of {reply}"
    figures = {"prefill": first - started, "decode": finished - first, "caches": float(cache_bytes())}
    return figures | peak(engine)


def look(engine: Any, text: str, picture: str) -> Figures:
    """A prompt with a picture, from the file to the first token."""
    reset_peak(engine)
    started = time.perf_counter()
    length, tokens = engine.look(text, picture)
    next(tokens)
    taken = time.perf_counter() - started
    return {"tokens": length, "first": taken, "resident": resident_peak()} | peak(engine)


def turn(engine: Any, messages: list[dict[str, str]], picture: str | None, reply: int) -> Figures:
    """Time to the first token of a turn; then the reply is written to its end."""
    started = time.perf_counter()
    tokens = engine.turn(messages, picture, reply)
    next(tokens)
    taken = time.perf_counter() - started
    for _ in tokens:
        pass
    return {"first": taken}


def graph(engine: Any, steps: int) -> Figures:
    """Milliseconds of Python to build a decode step's graph, and of the whole step: medians."""
    built, whole = step_seconds(engine.stepper(steps + 8), steps)
    return {"graph": built * 1e3, "step": whole * 1e3}


TASKS: dict[str, Callable[..., Figures]] = {"reply": reply, "look": look, "turn": turn, "graph": graph}
NEEDS = {"look": "look", "turn": "turn", "graph": "stepper"}
"""What an engine must have for a task, unless every engine has it."""


def reset_peak(engine: Any) -> None:
    """So that the peak is that of the task."""
    if "peak" not in engine.lacks:
        import mlx.core as mx

        mx.clear_cache()
        mx.reset_peak_memory()


def peak(engine: Any) -> Figures:
    """Most bytes that MLX held at a time; nothing for an engine without MLX."""
    if "peak" in engine.lacks:
        return {}
    import mlx.core as mx

    return {"peak": float(mx.get_peak_memory())}


def resident_peak() -> float:
    """Most bytes of memory that this process ever held. What the parent held at the time of the fork does not count."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return float(line.split()[1]) * 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)  # bytes on macOS


def answered(engine: Any, task: str, **request: Any) -> dict[str, Any]:
    """Figures of a task, or why there are none."""
    if NEEDS.get(task) in engine.lacks:
        return {"failed": engine.lacks[NEEDS[task]]}
    try:
        return TASKS[task](engine, **request)
    except Exception as error:  # whatever an engine raises is its answer
        return failure(error)


def failure(error: Exception) -> dict[str, Any]:
    """What an engine raised, as an answer of one line."""
    lines = str(error).strip().splitlines()
    return {"failed": f"{type(error).__name__}: {lines[-1] if lines else ''}"[:200]}


def main() -> None:
    """Serves one engine until the input ends."""
    parser = argparse.ArgumentParser(description="Serve one engine.")
    parser.add_argument("engine", choices=ENGINES)
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    out = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):  # what a peer prints must not get in between
        started = time.perf_counter()
        try:
            engine = ENGINES[args.engine](args.folder)
        except Exception as error:  # one that can't be imported here is an answer too
            print(json.dumps(failure(error)), file=out, flush=True)
            sys.exit(1)
        print(json.dumps({"load": time.perf_counter() - started}), file=out, flush=True)
        for line in sys.stdin:
            print(json.dumps(answered(engine, **json.loads(line))), file=out, flush=True)


if __name__ == "__main__":
    main()
