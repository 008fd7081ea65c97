"""Time to the first token, turn by turn: a session against reading the whole conversation again, in one run.

python -m benchmarks.chat [--turns N] [--words N] [--layers N] [--hidden N] [--window N] [--repeats N]

The model has random weights, and a picture is in the first turn. "read" are the tokens that are read after a question.
"Reply read before" is a session that has read the reply, as history has it, before the next question came.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import mlx.core as mx
import numpy as np

from benchmarks.random_checkpoint import write_checkpoint
from benchmarks.running import run_benchmark
from benchmarks.shapes import tiny_config
from gemma4_mlx.checkpoint.load import load_model
from gemma4_mlx.engine.prefill import prefill
from gemma4_mlx.engine.session import Session
from gemma4_mlx.measure.speed import unguessed
from gemma4_mlx.media.images import load_image
from gemma4_mlx.model.unified import Gemma4Unified
from gemma4_mlx.prompt.processor import Processor
from gemma4_mlx.prompt.prompt import Prompt

CHUNK, REPLY = 512, 100
VOCABULARY = ("little", "boat", "left", "harbour", "early", "nobody", "pier", "could", "say", "where", "glass", "water")
HISTORY = {"add_generation_prompt": False}


def main() -> None:
    """Prints one row for each turn."""
    parser = argparse.ArgumentParser(description="Measure time to first token in a conversation.")
    parser.add_argument("--turns", type=int, default=12)
    parser.add_argument("--words", type=int, default=60, help="of each question and reply")
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--window", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3, help="readings of everything in each turn")
    args = parser.parse_args()
    sizes = {"num_hidden_layers": args.layers, "hidden_size": args.hidden, "intermediate_size": 4 * args.hidden}
    config = tiny_config(**sizes, sliding_window=args.window, max_position_embeddings=65536)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = write_checkpoint(Path(folder) / "random", config)
        model, processor = load_model(checkpoint), Processor.from_folder(checkpoint)
    names = ["turn", "prompt", "all anew, ms"]
    for name in ("session", "reply read before", "retry"):
        names += ["read", f"{name}, ms", "ratio"]
    print(f"| {' | '.join(names)} |\n{'|---' * len(names)}|")
    converse(model, processor, args)


def converse(model: Gemma4Unified, processor: Processor, args: argparse.Namespace) -> None:
    """Times one turn after another; both sessions go on from turn to turn, and answer."""
    rng = np.random.default_rng(0)
    plain, ahead = Session(model), Session(model)
    picture = load_image(rng.integers(0, 256, (240, 240, 3)).astype(np.uint8), 70)
    parts: list[dict[str, Any]] = [{"type": "image", "image": picture}]
    messages: list[dict[str, Any]] = []
    for turn in range(1, args.turns + 1):
        messages.append({"role": "user", "content": [*parts, {"type": "text", "text": words(rng, args.words)}]})
        prompt, parts = processor.prompt(messages), []
        anew = median(timed(partial(read_anew, model, prompt)) for _ in range(args.repeats))
        print(f"| {turn} | {len(prompt.ids)} | {anew * 1e3:.1f}", end="")
        for session in (plain, ahead):
            print_cells(timed(partial(read, session, prompt)), len(prompt.ids) - session.reused, anew)
            answer(session, prompt)
        print_cells(timed(partial(read, plain, prompt)), len(prompt.ids) - plain.reused, anew)
        print(" |", flush=True)
        messages.append({"role": "assistant", "content": words(rng, args.words)})
        mx.eval(read(ahead, processor.prompt(messages, template_variables=HISTORY)))


def read_anew(model: Gemma4Unified, prompt: Prompt) -> mx.array:
    return prefill(model, prompt, model.make_caches(len(prompt.ids) + REPLY), CHUNK)


def read(session: Session, prompt: Prompt) -> mx.array:
    return session.read(prompt, len(prompt.ids) + REPLY, CHUNK)


def answer(session: Session, prompt: Prompt) -> None:
    """Writes a reply that history will not have as it was written, as thoughts and their channels are dropped."""
    hidden = session.read_hidden(prompt, len(prompt.ids) + REPLY, CHUNK)
    list(session.follow(unguessed(session.model, session.caches, hidden, REPLY)))


def timed(run: Callable[[], mx.array]) -> float:
    """Seconds until the first token is chosen."""
    start = time.perf_counter()
    mx.eval(mx.argmax(run(), axis=-1))
    return time.perf_counter() - start


def words(rng: np.random.Generator, count: int) -> str:
    return " ".join(rng.choice(VOCABULARY, count))


def print_cells(seconds: float, read: int, anew: float) -> None:
    print(f" | {read} | {seconds * 1e3:.1f} | {seconds / anew:.2f}", end="")


if __name__ == "__main__":
    run_benchmark(main, "2 minutes")
