"""Short videos of one moving shape, as the few frames that the model sees."""

import random

from PIL import ImageDraw

from train_nano import media
from train_nano.data.phrases import ask
from train_nano.data.pictures import OBJECT
from train_nano.data.sample import SHAPE_CLASS, Sample, Video, picture, user
from train_nano.data.shapes import COLOURS, SHAPES, Thing, an, background, draw, shade

FRAMES = 4
STEPS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
VIDEO_SIZES = [(320, 240), (320, 180), (256, 256), (400, 300), (240, 240), (384, 384), (480, 270)]


def moving(rng: random.Random, shape: str, colour: str, direction: str) -> Video:
    """A shape that crosses at least a third of the picture; frames are sampled as the processor does."""
    size = rng.choice(VIDEO_SIZES)
    radius, travel = rng.uniform(0.09, 0.2), rng.uniform(0.35, 0.75)
    dx, dy = STEPS[direction]
    across = rng.uniform(0.2, 0.8)
    middle = rng.uniform(0.45, 0.55)
    ground = background(rng, size, {colour})
    fill, edge = shade(rng, colour), rng.choice([None, None, (90, 90, 90)])
    total, rate = rng.randint(8, 90), rng.choice([8, 10, 12, 24, 25, 30])
    wanted = FRAMES if rng.random() < 0.85 else rng.randint(2, 6)
    pictures, seconds = [], []
    for index in media.sampled_frames(total, wanted):
        along = (index / max(1, total - 1) - 0.5) * travel
        x, y = (middle + dx * along, across) if dx else (across, middle + dy * along)
        thing = Thing(shape, colour, x, y, radius)
        image = ground.copy()
        draw(rng, ImageDraw.Draw(image), size, thing, fill, edge)
        pictures.append(picture(image, [(x, y, SHAPE_CLASS + SHAPES.index(shape))]))
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
