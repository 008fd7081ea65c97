"""What the built-in model gets right of what people send it: blind cases, through the real engine, greedily.

python -m benchmarks.nano [--model FOLDER] [--bits 8 4] [--kv-bits 8 4] [--draft-model nano] [--samples N]
    [--rows NAME ...] [--show]

The cases of `benchmarks/blind` share no code and no source with training: another synthesizer, people, other fonts,
photos, licences and modules. "refuses" rows are right if nano says that it can't tell; the last line counts where it
said so and should not have. With --bits, quantized copies answer the same cases side by side; with --kv-bits, the model
with quantized caches; with --draft-model, the model with guesses, whose answers have to be the same. It needs the
packages that train_nano/README.md lists for the evaluation; rows whose package is missing are left out with a note.
"""

import argparse
import random
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.blind import conversations, films, pictures, sounds, texts, tools
from benchmarks.blind.case import Case, Maker, refuses, word_errors
from benchmarks.running import run_benchmark
from gemma4_mlx.api import load, load_drafter, stream_generate
from gemma4_mlx.engine.options import KVBits
from gemma4_mlx.model.drafter import Drafter
from gemma4_mlx.model.unified import Gemma4Unified
from gemma4_mlx.prompt.processor import Processor

LONGEST_ANSWER = 200
_BITS = {"weights": "bits", "caches": "kv_bits"}
ROWS: dict[str, Maker] = {
    **pictures.ROWS,
    **sounds.ROWS,
    **films.ROWS,
    **texts.ROWS,
    **tools.ROWS,
    **conversations.ROWS,
}
Subject = tuple[Gemma4Unified, Processor, KVBits, Drafter | None]
"""What is measured: a model, its processor, the bits of its caches, and what guesses for it."""


@dataclass(slots=True)
class Tally:
    """One row: every subject's right answers and those that differ from the first one's, and that one's failures.

    Attributes:
        refused: wrong refusals.
        errors: in words, among as many `words` of transcripts.
    """

    right: list[int]
    other: list[int]
    cases: int = 0
    refused: int = 0
    words: int = 0
    errors: int = 0


def answer(model: Gemma4Unified, processor: Processor, kv_bits: KVBits, drafter: Drafter | None, case: Case) -> str:
    """What greedy decoding says or calls, after whatever it thinks."""
    media = processor.media
    media = replace(media, image_tokens=case.image_tokens or media.image_tokens)
    media = replace(media, max_frames=case.max_frames or media.max_frames)
    options: dict[str, Any] = {"temperature": 0, "kv_bits": kv_bits, "max_tokens": LONGEST_ANSWER}
    asked = {"tools": case.tools or None, "enable_thinking": case.thinking, "media": media, "drafter": drafter}
    pieces = stream_generate(model, processor, case.messages, **asked, **options)
    return "".join(piece.text for piece in pieces if piece.channel != "thought").strip()


def converted(folder: str, bits: int, temporary: str) -> str:
    """The same model quantized."""
    from gemma4_mlx.commands.convert import main as convert

    target = str(Path(temporary) / f"{bits}-bit")
    if convert(["--hf-path", folder, "--mlx-path", target, "-q", "--q-bits", str(bits)]):
        raise SystemExit("the conversion failed")
    return target


def measure(subjects: Sequence[Subject], name: str, samples: int, show: bool) -> Tally:
    """Each subject's right answers to the same cases."""
    tally = Tally([0] * len(subjects), [0] * len(subjects))
    for number in range(samples):
        case = ROWS[name](random.Random(f"{name} {number}"))
        said = [answer(*subject, case) for subject in subjects]
        right = [case.right(text) for text in said]
        tally.right = [total + int(r) for total, r in zip(tally.right, right, strict=True)]
        tally.other = [total + int(text != said[0]) for total, text in zip(tally.other, said, strict=True)]
        tally.cases += 1
        tally.refused += int(refuses(said[0]) and not right[0])
        tally.words += len(case.transcript.split())
        tally.errors += word_errors(said[0], case.transcript) if case.transcript else 0
        if show and not right[0]:
            print(f"{name} {number}: {_asked(case)!r} -> {said[0]!r}", file=sys.stderr, flush=True)
    return tally


def _asked(case: Case) -> str:
    content = case.messages[-1]["content"]
    text = content if isinstance(content, str) else " ".join(p.get("text", f"<{p['type']}>") for p in content)
    return text if len(text) < 200 else f"{text[:90]} ... {text[-90:]}"


def columns(args: argparse.Namespace, subjects: Sequence[Subject]) -> list[str]:
    dtype = str(subjects[0][0].language_model.model.dtype).removeprefix("mlx.core.")
    quantized = [f"{bits}-bit {what}" for what in ("weights", "caches") for bits in getattr(args, _BITS[what])]
    return [dtype, *quantized, *(["with its drafter"] if args.draft_model else [])]


def _line(name: str, tally: Tally) -> str:
    return f"| {name} | {' | '.join(f'{right}/{tally.cases}' for right in tally.right)} |"


def _mean(tallies: list[Tally]) -> str:
    each = zip(*(([right / t.cases for right in t.right]) for t in tallies), strict=True)
    return " | ".join(f"{sum(shares) / len(tallies):.1%}" for shares in each)


def report(subjects: Sequence[Subject], args: argparse.Namespace) -> None:
    """A row for each kind of case, the means, and the wrong refusals."""
    tallies: dict[str, Tally] = {}
    for name in args.rows:
        try:
            tallies[name] = measure(subjects, name, args.samples, args.show)
        except (ImportError, FileNotFoundError) as missing:
            print(f"note: {name} is left out: {missing}", file=sys.stderr)
            continue
        print(_line(name, tallies[name]), flush=True)
    groups = {True: "mean of the refusals", False: "mean of all others"}
    for refusing, title in groups.items():
        if chosen := [t for name, t in tallies.items() if name.startswith("refuses") is refusing]:
            print(f"| {title} | {_mean(chosen)} |")
    inside = [t for name, t in tallies.items() if not name.startswith("refuses")]
    if cases := sum(t.cases for t in inside):
        wrong = sum(t.refused for t in inside)
        print(f"\nWrong refusals inside its world: {wrong} of {cases} ({wrong / cases:.1%}).")
    each = zip(*(t.other for t in tallies.values()), strict=True)
    if different := [sum(counts) for counts in each][1:]:
        print(f"Answers not the same to the letter, by column after the first: {', '.join(map(str, different))}.")
    if words := sum(t.words for t in tallies.values()):
        print(f"Word error rate on its own vocabulary: {sum(t.errors for t in tallies.values()) / words:.1%}.")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the built-in model on blind cases.")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--bits", type=int, nargs="*", default=[], help="also ask it quantized to these bits")
    parser.add_argument("--kv-bits", type=int, nargs="*", default=[], help="also ask it with caches of these bits")
    parser.add_argument("--draft-model", help="also with this drafter: its answers should be the same to the letter")
    parser.add_argument("--samples", type=int, default=40, help="cases of each row")
    parser.add_argument("--rows", nargs="*", default=list(ROWS), choices=list(ROWS), metavar="NAME")
    parser.add_argument("--show", action="store_true", help="print wrong answers to stderr")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        from gemma4_mlx.checkpoint.hub import resolve

        folder = str(resolve(args.model))
        folders = [folder, *(converted(folder, bits, temporary) for bits in args.bits)]
        subjects: list[Subject] = [(*load(path), "none", None) for path in folders]
    subjects += [(*subjects[0][:2], bits, None) for bits in args.kv_bits]
    if args.draft_model:
        subjects.append((*subjects[0][:3], load_drafter(args.draft_model)))
    named = columns(args, subjects)
    print(f"| blind, right of {args.samples} | {' | '.join(named)} |\n|---|{'---|' * len(named)}", flush=True)
    report(subjects, args)


if __name__ == "__main__":
    run_benchmark(main, "10 minutes, with --bits and --kv-bits half an hour")
