"""How often each task is trained, and the variations that any sample may get."""

import random
from collections.abc import Callable

from train_nano.data import arithmetic, calls, glyphs, memory, mixed, pictures, refusals, sounds, texts, videos
from train_nano.data.sample import Sample

Generator = Callable[[random.Random, bool], Sample]

WEIGHTS: dict[str, tuple[Generator, float]] = {
    "colour": (pictures.colour, 9),
    "shape": (pictures.shape, 10),
    "place": (pictures.place, 4),
    "count": (pictures.count, 12),
    "yes": (pictures.yes, 7),
    "see": (pictures.see, 9),
    "json": (pictures.in_json, 4),
    "number": (glyphs.number, 27),
    "tone": (sounds.tone, 2.5),
    "beeps": (sounds.beeps, 5),
    "speech": (sounds.speech, 46),
    "hear": (sounds.hear, 3),
    "motion": (videos.motion, 3),
    "video colour": (videos.colour, 0.7),
    "happens": (videos.happens, 2),
    "film with speech": (videos.with_speech, 1),
    "talk": (texts.talk, 2.5),
    "copy": (memory.copy, 10),
    "sum": (arithmetic.plain, 13),
    "sum with thought": (arithmetic.thought, 4),
    "recall": (memory.recall, 7),
    "fact": (memory.fact, 3),
    "remembered": (mixed.remembered, 3),
    "tool call": (calls.call, 14),
    "tool answer": (calls.answer, 6),
    "tool again": (calls.again, 5),
    "no call": (calls.no_call, 4),
    "two images": (mixed.two_images, 4),
    "image and audio": (mixed.image_and_audio, 2),
    "conversation": (mixed.conversation, 7),
    "follow-up": (mixed.follow_up, 2),
    "far picture": (refusals.far_picture, 6),
    "near picture": (refusals.near_picture, 7),
    "strange sound": (refusals.strange_sound, 6),
    "strange film": (refusals.strange_film, 0.4),
    "strange text": (refusals.strange_text, 8),
    "nothing there": (refusals.nothing_there, 1),
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
    if rng.random() < 0.03 and sample.thought is None and not sample.tools and not sample.task.startswith("sum"):
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
