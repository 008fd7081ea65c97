"""What the built-in model gets right: exact match on generated cases that training never saw, through the real engine.

python -m benchmarks.nano [--model FOLDER] [--bits 8 4] [--kv-bits 8 4] [--samples N] [--tasks NAME ...] [--seen]

Phrasings, voices and cities are held out unless --seen asks for training's own (on fresh cases). With --bits, quantized
copies answer the same cases side by side; with --kv-bits, the model with quantized caches. Spoken digits need the
recorded voices of train_nano/README.md.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gemma4_mlx.api import load, stream_generate
from gemma4_mlx.engine.options import KVBits
from gemma4_mlx.media.images import Patches
from gemma4_mlx.media.video import Video
from gemma4_mlx.model.unified import Gemma4Unified
from gemma4_mlx.prompt.processor import Processor
from gemma4_mlx.prompt.reply import CALL_END, CALL_START
from train_nano.data import mixture
from train_nano.data.sample import Clip, Picture, Sample

LONGEST_ANSWER = 160
Subject = tuple[Gemma4Unified, Processor, KVBits]
"""What is measured: a model, its processor, and the bits of its caches."""


def as_media(item: Picture | Clip | Any) -> Patches | Video | list[Any]:
    """A generated picture, clip or film as the package's own types."""
    if isinstance(item, Picture):
        return Patches(item.patches, item.xy.astype("int32"))
    if isinstance(item, Clip):
        return [item.frames]
    return Video([Patches(frame.patches, frame.xy.astype("int32")) for frame in item.pictures], item.seconds, [])


def as_messages(sample: Sample) -> list[dict[str, Any]]:
    """The sample's messages with its media in their places."""
    waiting = iter(sample.media)

    def filled(part: dict[str, Any]) -> dict[str, Any]:
        return part if part["type"] == "text" else {**part, part["type"]: as_media(next(waiting))}

    return [
        {**message, "content": [filled(part) for part in message["content"]]}
        if isinstance(message.get("content"), list)
        else message
        for message in sample.messages
    ]


def is_right(model: Gemma4Unified, processor: Processor, kv_bits: KVBits, sample: Sample) -> bool:
    """Whether greedy decoding writes the answer or the tool call exactly, after whatever it thinks."""
    pieces = stream_generate(
        model,
        processor,
        as_messages(sample),
        tools=sample.tools,
        enable_thinking=sample.thought is not None,
        temperature=0,
        kv_bits=kv_bits,
        max_tokens=LONGEST_ANSWER,
    )
    said = "".join(piece.text for piece in pieces if piece.channel != "thought")
    return said.strip() == sample.answer.replace(CALL_START, "").replace(CALL_END, "").strip()


def converted(folder: str, bits: int, temporary: str) -> str:
    """The same model quantized."""
    from gemma4_mlx.commands.convert import main as convert

    target = str(Path(temporary) / f"{bits}-bit")
    if convert(["--hf-path", folder, "--mlx-path", target, "-q", "--q-bits", str(bits)]):
        raise SystemExit("the conversion failed")
    return target


def measure(subjects: Sequence[Subject], task: str, samples: int, seen: bool) -> list[float]:
    """Each subject's share of right answers."""
    cases = [mixture.case(task, number, held_out=not seen) for number in range(samples)]
    return [sum(is_right(*subject, case) for case in cases) / samples for subject in subjects]


def main() -> None:
    """Prints a row for each task."""
    parser = argparse.ArgumentParser(description="Measure the built-in model.")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--bits", type=int, nargs="*", default=[], help="also ask it quantized to these bits")
    parser.add_argument("--kv-bits", type=int, nargs="*", default=[], help="also ask it with caches of these bits")
    parser.add_argument("--samples", type=int, default=50, help="cases of each task")
    parser.add_argument("--tasks", nargs="*", default=list(mixture.WEIGHTS))
    parser.add_argument("--seen", action="store_true", help="training's own phrasings, voices and cities")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        from gemma4_mlx.checkpoint.hub import resolve

        folder = str(resolve(args.model))
        folders = [folder, *(converted(folder, bits, temporary) for bits in args.bits)]
        subjects: list[Subject] = [(*load(path), "none") for path in folders]
    subjects += [(*subjects[0][:2], bits) for bits in args.kv_bits]
    dtype = str(subjects[0][0].language_model.model.dtype).removeprefix("mlx.core.")
    columns = [dtype, *(f"{bits}-bit weights" for bits in args.bits), *(f"{bits}-bit caches" for bits in args.kv_bits)]
    print(f"| task | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}", flush=True)
    totals = [0.0] * len(columns)
    for task in args.tasks:
        shares = measure(subjects, task, args.samples, args.seen)
        totals = [total + share / len(args.tasks) for total, share in zip(totals, shares, strict=True)]
        print(f"| {task} | {' | '.join(f'{share:.2f}' for share in shares)} |", flush=True)
    print(f"| mean | {' | '.join(f'{total:.3f}' for total in totals)} |")


if __name__ == "__main__":
    main()
