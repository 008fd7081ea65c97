"""The built-in model's questions, whose answers are known: the whole way from a file to words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gemma4_mlx.api import generate
from gemma4_mlx.model.unified import Gemma4Unified
from gemma4_mlx.prompt.processor import Processor

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
"""Beside the package in a checkout; an installed package has none."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question, how the answer begins, and the files that it is about by the name of `generate`'s argument."""

    text: str
    answer: str
    files: Mapping[str, Sequence[Path]] = field(default_factory=dict)
    thinking: bool = False

    def ask(self, model: Gemma4Unified, processor: Processor) -> str:
        """What the model answers, the likeliest token each time."""
        media: dict[str, Any] = {name: [str(path) for path in paths] for name, paths in self.files.items()}
        return generate(model, processor, self.text, enable_thinking=self.thinking, temperature=0, **media)


def questions(examples: Path = EXAMPLES) -> list[Question]:
    """A sum, and one question about each example file that is there."""
    asked = [
        Question("What is 12 + 7?", "19", thinking=True),
        Question("What is in this picture?", "A red circle", {"images": [examples / "photo.png"]}),
        Question("Transcribe the speech.", "4719", {"audio": [examples / "digits.m4a"]}),
        Question("Which way does the circle move?", "right", {"videos": [examples / "film.mp4"]}),
    ]
    return [
        question for question in asked if all(path.is_file() for paths in question.files.values() for path in paths)
    ]
