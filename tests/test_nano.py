"""The built-in model answers real questions through the command and the API, in one pass, in chunks and quantized."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from media.media_files import encoded_sound, tone
from PIL import Image, ImageDraw
from work import counted_calls

from gemma4_mlx.api import generate, load, stream_generate
from gemma4_mlx.commands.convert import main as convert
from gemma4_mlx.commands.generate import main

COLOURS = {
    "red": (220, 20, 60),
    "orange": (255, 140, 0),
    "yellow": (255, 215, 0),
    "green": (34, 139, 34),
    "blue": (30, 90, 220),
    "purple": (140, 50, 190),
    "pink": (255, 105, 180),
}
PITCHES = {120: "low", 180: "low", 500: "middle", 700: "middle", 2000: "high", 3000: "high"}
EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
FLOAT32 = ["--dtype", "float32"]
"""Quantized products with bfloat16 scales take a CPU ten times as long."""

SUMS = {(27, 58): "85", (12, 7): "19", (45, 33): "78", (90, 9): "99"}


@pytest.fixture(scope="module")
def nano() -> tuple[Any, Any]:
    return load("nano")


def circle(colour: str) -> Image.Image:
    image = Image.new("RGB", (400, 400), (236, 232, 222))
    ImageDraw.Draw(image).ellipse((130, 130, 270, 270), fill=COLOURS[colour], outline=(90, 90, 90), width=3)
    return image


def colours_right(both: tuple[Any, Any], **options: Any) -> int:
    question = "What colour is the circle?"
    return sum(generate(*both, question, images=[circle(colour)], **options) == colour for colour in COLOURS)


@pytest.mark.parametrize("step", [16, 512])
def test_colours_in_one_pass_and_in_chunks(nano: tuple[Any, Any], step: int) -> None:
    assert colours_right(nano, prefill_step_size=step) >= 6


def test_tones(nano: tuple[Any, Any]) -> None:
    question = "Is the tone low, middle or high?"
    heard = {pitch: generate(*nano, question, audio=[(tone(0.8, pitch=pitch), 16000)]) for pitch in PITCHES}
    assert heard == PITCHES


def test_the_example_files(nano: tuple[Any, Any]) -> None:
    picture, sound, film = (str(EXAMPLES / name) for name in ("photo.png", "digits.m4a", "film.mp4"))
    assert generate(*nano, "What is in this picture?", images=[picture]).startswith("A red circle")
    assert generate(*nano, "Transcribe the speech.", audio=[sound]) == "4719"
    assert generate(*nano, "Which way does the circle move?", videos=[film]) == "right"


def test_sums_are_thought_out_before_they_are_answered(nano: tuple[Any, Any]) -> None:
    right = 0
    for (first, second), total in SUMS.items():
        pieces = list(stream_generate(*nano, f"What is {first} + {second}?", enable_thinking=True))
        thought = "".join(piece.text for piece in pieces if piece.channel == "thought")
        answer = "".join(piece.text for piece in pieces if piece.channel == "answer")
        assert thought
        right += answer == total
    assert right >= 3


def test_a_picture_in_a_later_turn(nano: tuple[Any, Any]) -> None:
    def asked(colour: str) -> Iterator[dict[str, Any]]:
        yield {"role": "user", "content": "Hello"}
        yield {"role": "assistant", "content": "Hello! How can I help you?"}
        picture = {"type": "image", "image": circle(colour)}
        yield {"role": "user", "content": [picture, {"type": "text", "text": "What colour is the circle?"}]}

    right = [colour for colour in COLOURS if generate(*nano, list(asked(colour))) == colour]
    assert len(right) >= 5


def test_quantized_to_8_bits_it_answers_as_well(nano: tuple[Any, Any], tmp_path: Path) -> None:
    assert convert(["--model", "nano", "--mlx-path", str(tmp_path / "8bit"), "-q", "--q-bits", "8", *FLOAT32]) == 0
    assert colours_right(load(tmp_path / "8bit")) >= 6


def test_quantized_to_4_bits_it_still_sees_most_colours(tmp_path: Path) -> None:
    assert convert(["--model", "nano", "--mlx-path", str(tmp_path / "4bit"), "-q", "--q-bits", "4", *FLOAT32]) == 0
    assert colours_right(load(tmp_path / "4bit")) >= 5


def test_the_command_answers_by_default(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GEMMA4_MODEL", raising=False)
    circle("red").save(tmp_path / "photo.jpg")
    (tmp_path / "tone.m4a").write_bytes(encoded_sound(tone(0.8, pitch=2500), 16000, "aac", "ipod"))

    assert main(["--image", str(tmp_path / "photo.jpg"), "-p", "What colour is the circle?"]) == 0
    out, err = capsys.readouterr()
    assert out == "red\n"
    assert err.startswith("nano, the built-in demonstration model, answers")

    assert main(["--audio", str(tmp_path / "tone.m4a"), "-p", "Is the tone low, middle or high?", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["content"] == "high"


def test_it_is_small() -> None:
    folder = Path(__file__).resolve().parent.parent / "gemma4_mlx" / "nano"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 12e6


def test_it_loads_with_little_work() -> None:
    """A fifth of a second on a laptop."""
    with counted_calls() as calls:
        load("nano")
    assert calls.total() < 150_000
