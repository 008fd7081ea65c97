"""Short videos of one moving shape, as the few frames that the model sees."""

import io
import random

from PIL import Image

from train_nano import media
from train_nano.data import sounds, strokes
from train_nano.data.backgrounds import background
from train_nano.data.colours import COLOURS, shade
from train_nano.data.outlines import SHAPES, outline
from train_nano.data.phrases import ask, expand, varied
from train_nano.data.pictures import OBJECT
from train_nano.data.sample import SHAPE_CLASS, Clip, Sample, Video, picture, user
from train_nano.data.shapes import an

FRAMES = 4
STEPS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
VIDEO_SIZES = [(320, 240), (320, 180), (256, 256), (400, 300), (240, 240), (384, 384), (480, 270), (240, 320)]
# How many frames the model sees: many are dear.
COUNTS = {2: 2, 3: 4, 4: 70, 5: 5, 6: 5, 8: 7, 12: 2, 16: 1.5, 32: 0.5}


def _compressed(image: Image.Image, quality: int) -> Image.Image:
    """The loss of a film's codec, told by JPEG."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def moving(rng: random.Random, shape: str, colour: str, direction: str) -> Video:
    """A shape that crosses at least a third of the picture; frames are sampled as the processor does."""
    size = rng.choice(VIDEO_SIZES)
    radius, travel = rng.uniform(0.07, 0.22), rng.uniform(0.33, 0.8)
    dx, dy = STEPS[direction]
    across, drift = rng.uniform(0.2, 0.8), rng.uniform(-0.08, 0.08)
    middle = rng.uniform(0.45, 0.55)
    fill = shade(rng, colour)
    ground = background(rng, size, [fill])
    how = strokes.style(rng)
    points = outline(rng, shape, rng.choice([0.0, 0.3]))
    quality = rng.randint(12, 80) if rng.random() < 0.5 else 0
    total, rate = rng.randint(8, 90), rng.choice([8, 10, 12, 24, 25, 30])
    wanted = rng.choices(list(COUNTS), list(COUNTS.values()))[0]
    pictures, seconds, seed = [], [], rng.random()
    for index in media.sampled_frames(total, wanted):
        share = index / max(1, total - 1) - 0.5
        along, aside = middle + share * travel * (dx + dy), across + share * drift
        x, y = (along, aside) if dx else (aside, along)
        r = radius * min(size)
        image = ground.copy()
        shifted = [(x * size[0] + px * r, y * size[1] + py * r) for px, py in points]
        strokes.draw(random.Random(seed), image, shifted, fill, how, r)  # the same hand in every frame
        shown = _compressed(image, quality) if quality else image
        pictures.append(picture(shown, [(x, y, SHAPE_CLASS + SHAPES.index(shape))]))
        seconds.append(index / rate)
    return Video(pictures, seconds)


def _drawn(rng: random.Random) -> tuple[Video, str, str, str]:
    shape, colour, direction = rng.choice(SHAPES), rng.choice(list(COLOURS)), rng.choice(list(STEPS))
    return moving(rng, shape, colour, direction), shape, colour, direction


def motion(rng: random.Random, held_out: bool) -> Sample:
    video, shape, _, direction = _drawn(rng)
    text = ask(rng, "motion", held_out, x=shape if rng.random() < 0.4 else rng.choice(OBJECT))
    return Sample(task="motion", messages=[user(text, ["video"])], answer=direction, media=[video])


def colour(rng: random.Random, held_out: bool) -> Sample:
    video, shape, tint, _ = _drawn(rng)
    text = ask(rng, "colour", held_out, x=shape if rng.random() < 0.4 else rng.choice(OBJECT))
    return Sample(task="video colour", messages=[user(text, ["video"])], answer=tint, media=[video])


def happens(rng: random.Random, held_out: bool) -> Sample:
    video, shape, tint, direction = _drawn(rng)
    answer = f"{an(f'{tint} {shape}').capitalize()} moves {direction}."
    return Sample(
        task="happens", messages=[user(ask(rng, "happens", held_out), ["video"])], answer=answer, media=[video]
    )


_BOTH = [
    "(What|Tell me what|Say what) (do you see and hear|happens and what is said|is shown and said)(?|.)",
    "(Describe|Summarize) the (video|film|clip) and (its sound|what is said|the speech).",
    "What (happens|is to see) in the (video|film|clip), and what is (said|to hear)?",
]
_HELD_BOTH = "What can be seen and what can be heard in this film?"


def with_speech(rng: random.Random, held_out: bool) -> Sample:
    """A film with a voice: what it says, what happens, or both."""
    video, shape, tint, direction = _drawn(rng)
    clip, said = sounds.speech_clip(rng, held_out)
    kind = rng.random()
    if kind < 0.4:
        text, answer = ask(rng, "digits", held_out), said
    elif kind < 0.6:
        text, answer = ask(rng, "motion", held_out, x=rng.choice(OBJECT)), direction
    else:
        text = _HELD_BOTH if held_out else varied(rng, expand(rng, rng.choice(_BOTH)))
        answer = f"{an(f'{tint} {shape}').capitalize()} moves {direction} and a voice says {said}."
    shown: list[Video | Clip] = [video, clip]
    asked = user(text, ["video"], ["audio"]) if rng.random() < 0.7 else user(text, ["video", "audio"])
    return Sample(task="film with speech", messages=[asked], answer=answer, media=shown)
