"""Whether the built-in model finds a planted fact in long text, by length of the text and place of the fact.

python -m benchmarks.recall [--model FOLDER] [--lengths N ...] [--json FILE] [--plot FILE]

Each text is read in chunks with plain caches, and again in one pass (up to 16,384 tokens), with 8-bit caches, and from
a session that was saved and opened again; the table says in how many texts each of them finds the fact, and in how many
it says the same as the first.
"""

import argparse
import json
import random
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.running import run_benchmark
from gemma4_mlx.api import load, stream_generate
from gemma4_mlx.engine import session_file
from gemma4_mlx.engine.session import Session
from train_nano.data import words

PLACES = (0.0, 0.25, 0.5, 0.75, 1.0)
ONE_PASS = 16384
"""Longest text that is also read in one pass."""
LONGEST_ANSWER = 24

Both = tuple[Any, Any]
"""The model and its processor."""


@dataclass(frozen=True, slots=True)
class Case:
    """A text and what each way of reading it answers to the question about the fact."""

    length: int
    place: float
    fact: str
    answers: dict[str, str]

    def found(self, way: str) -> bool:
        """Whether the answer tells the fact."""
        return self.fact in self.answers[way]


def make_text(processor: Any, length: int, place: float, rng: random.Random) -> tuple[str, str]:
    """A text of about `length` tokens with a question at its end, and the code that answers it."""
    name, code = f"{rng.choice(words.OWNERS)} {rng.choice(words.THINGS)}", "".join(rng.choices("0123456789", k=4))
    sample = " ".join(words.filler(rng) for _ in range(200))
    count = int(length / (len(processor.tokenizer.encode(sample)) / 200))
    lines = [words.filler(rng) for _ in range(count)]
    lines.insert(round(place * count), f"The code of the {name} is {code}.")
    return f"{' '.join(lines)}\nWhat is the code of the {name}?", code


def ask(both: Both, text: str, **options: Any) -> str:
    """The answer, greedily."""
    pieces = stream_generate(*both, text, temperature=0, max_tokens=LONGEST_ANSWER, **options)
    return "".join(piece.text for piece in pieces).strip()


def ask_again_from_disk(both: Both, text: str) -> tuple[str, str]:
    """The answer of a session, and the one after it was saved and opened again."""
    session = Session(both[0])
    first = ask(both, text, session=session)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "session.safetensors"
        session_file.save(session, path)
        session = session_file.load(both[0], path, None, 64)
    return first, ask(both, text, session=session)


def run(both: Both, length: int, place: float, seed: int) -> Case:
    """One text, read in every way."""
    text, code = make_text(both[1], length, place, random.Random(f"recall {length} {place} {seed}"))
    plain, resumed = ask_again_from_disk(both, text)
    answers = {"in chunks": plain, "8-bit caches": ask(both, text, kv_bits=8), "resumed": resumed}
    if length <= ONE_PASS:
        answers["one pass"] = ask(both, text, prefill_step_size=2 * length, kv_bits="none")
    return Case(length, place, code, answers)


def table(cases: Sequence[Case]) -> list[str]:
    """A row for each length and way of reading."""
    lines = ["| tokens | read | texts | found | the same answer as in chunks |", "|---|---|---|---|---|"]
    for length in sorted({case.length for case in cases}):
        these = [case for case in cases if case.length == length]
        for way in these[0].answers:
            found = sum(case.found(way) for case in these)
            same = sum(case.answers[way] == case.answers["in chunks"] for case in these)
            lines.append(f"| {length:,} | {way} | {len(these)} | {found} | {same} |")
    return lines


def plot(path: Path, cases: Sequence[Case]) -> None:
    """Share of facts found, a square for each length and place."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lengths = sorted({case.length for case in cases})
    shares = [[_share(cases, lambda c, a=a, b=b: c.length == a and c.place == b) for a in lengths] for b in PLACES]
    figure = Figure(figsize=(6, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    image = axes.imshow(shares, vmin=0, vmax=1, cmap="RdYlGn", aspect="auto")
    axes.set_xticks(range(len(lengths)), [f"{length // 1024}k" for length in lengths])
    axes.set_yticks(range(len(PLACES)), [f"{place:.0%}" for place in PLACES])
    axes.set(xlabel="tokens of text", ylabel="place of the fact in it", title="nano: planted codes found")
    for row, line in enumerate(shares):
        for column, share in enumerate(line):
            axes.text(
                column, row, f"{share:.0%}", ha="center", va="center", bbox={"facecolor": "white", "linewidth": 0}
            )
    figure.colorbar(image, label="share found")
    figure.savefig(path, dpi=120)


def _share(cases: Sequence[Case], belongs: Callable[[Case], bool]) -> float:
    these = [case for case in cases if belongs(case)]
    return sum(case.found("in chunks") for case in these) / len(these)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description="Measure recall over long text.")
    parser.add_argument("--model", default="nano", help="a copy of it in another type or with fewer bits")
    parser.add_argument("--lengths", type=int, nargs="*", default=[1024, 4096, 16384, 65536])
    parser.add_argument(
        "--texts", type=int, default=8192, help="tokens of text to spend on each place, at least one text"
    )
    parser.add_argument("--json", type=Path, help="write every answer there")
    parser.add_argument("--plot", type=Path, help="draw a picture there (needs matplotlib)")
    args = parser.parse_args()
    both = load(args.model)
    cases = []
    for length in args.lengths:
        for place in PLACES:
            cases += [run(both, length, place, seed) for seed in range(max(1, args.texts // length))]
            print(f"{length} tokens, fact at {place:.0%}: {cases[-1].answers}", flush=True)
            if args.json:
                args.json.write_text(json.dumps([asdict(case) for case in cases], indent=1), encoding="utf-8")
    print("\n".join(table(cases)))
    if args.plot:
        plot(args.plot, cases)


if __name__ == "__main__":
    run_benchmark(main, "15 minutes")
