"""How often each task is trained, and the variations that any sample may get."""

import random
from collections.abc import Callable

from train_nano.data import calls, glyphs, mixed, pictures, sounds, texts, videos
from train_nano.data.sample import Sample

Generator = Callable[[random.Random, bool], Sample]

WEIGHTS: dict[str, tuple[Generator, float]] = {
    "colour": (pictures.colour, 14),
    "shape": (pictures.shape, 7),
    "place": (pictures.place, 4),
    "count": (pictures.count, 17),
    "yes": (pictures.yes, 2),
    "see": (pictures.see, 6),
    "number": (glyphs.number, 13),
    "tone": (sounds.tone, 1.5),
    "beeps": (sounds.beeps, 4),
    "digits": (sounds.digits, 22),
    "hear": (sounds.hear, 3),
    "motion": (videos.motion, 5),
    "video colour": (videos.colour, 0.7),
    "happens": (videos.happens, 1),
    "talk": (texts.talk, 1),
    "copy": (texts.copy, 12),
    "sum": (texts.sum_thought, 12),
    "small sum": (texts.sum_plain, 4),
    "recall": (texts.recall, 5),
    "recall of several": (texts.recall_of_several, 6),
    "tool call": (calls.call, 18),
    "tool answer": (calls.answer, 4),
    "tool again": (calls.again, 8),
    "no call": (calls.no_call, 1.5),
    "two images": (mixed.two_images, 4),
    "image and audio": (mixed.image_and_audio, 2),
    "later turn": (mixed.later_turn, 1.5),
    "follow-up": (mixed.follow_up, 2),
    "json": (pictures.in_json, 8),
}
SYSTEM = [
    "You are a helpful assistant.",
    "You are nano.",
    "Answer briefly.",
    "Be helpful and brief.",
    "Answer in English.",
]
IMAGE_THOUGHT, AUDIO_THOUGHT, TEXT_THOUGHT = "I look at the picture.", "I listen to the clip.", "I read the question."


def draw(rng: random.Random) -> Sample:
    """One training sample."""
    names = list(WEIGHTS)
    name = rng.choices(names, [WEIGHTS[n][1] for n in names])[0]
    return vary(rng, WEIGHTS[name][0](rng, False))


def vary(rng: random.Random, sample: Sample) -> Sample:
    """Some samples get a system turn, thinking switched on, or another order of text and media."""
    if rng.random() < 0.08:
        sample.messages = [{"role": "system", "content": rng.choice(SYSTEM)}, *sample.messages]
    if rng.random() < 0.04 and sample.thought is None and not sample.tools:
        kinds = [p["type"] for m in sample.messages if isinstance(m["content"], list) for p in m["content"]]
        sample.thought = (
            IMAGE_THOUGHT
            if "image" in kinds or "video" in kinds
            else AUDIO_THOUGHT
            if "audio" in kinds
            else TEXT_THOUGHT
        )
    if rng.random() < 0.1 and len(sample.media) == 1:
        for message in sample.messages:
            if isinstance(message["content"], list):
                message["content"].reverse()
    return sample


def case(task: str, number: int, held_out: bool) -> Sample:
    """Case `number` of a task: with phrasings, voices and cities kept from train_nano, or a fresh one with its own."""
    name = f"evaluation {task} {number}" if held_out else f"fresh {task} {number}"
    return WEIGHTS[task][0](random.Random(name), held_out)
