"""Pictures of coloured shapes: where they are, how they are drawn, on what, and at which image budget."""

import io
import math
import random
from dataclasses import dataclass
from itertools import pairwise

from PIL import Image, ImageFilter

from train_nano.data.backgrounds import background
from train_nano.data.colours import COLOURS, UNKNOWN_RANGES, Colour, shade
from train_nano.data.outlines import SHAPES, UNKNOWN, outline
from train_nano.data.sample import SHAPE_CLASS, Picture, picture
from train_nano.data.strokes import draw, style

PLACES = [
    ["top left", "top", "top right"],
    ["left", "center", "right"],
    ["bottom left", "bottom", "bottom right"],
]
NUMBERS = ["no", "one", "two", "three", "four", "five"]
SIZES = [(320, 320), (400, 400), (256, 256), (480, 480), (512, 512), (384, 384), (200, 200)]
SIZES += [(640, 480), (400, 300), (320, 240), (300, 400), (640, 360), (480, 640)]
# Soft tokens of a picture and how often: large budgets cost as much as dozens of small ones.
BUDGETS = {70: 80, 100: 6, 140: 7, 200: 2.5, 280: 3, 560: 1, 1120: 0.5}
Marks = list[tuple[float, float, int]]


@dataclass(slots=True)
class Thing:
    """A shape: its centre and radius as fractions of the picture (radius of the shorter side)."""

    shape: str
    colour: str
    x: float
    y: float
    radius: float

    @property
    def name(self) -> str:
        return f"{self.colour} {self.shape}"

    @property
    def place(self) -> str:
        return PLACES[min(int(self.y * 3), 2)][min(int(self.x * 3), 2)]


def an(phrase: str) -> str:
    return f"an {phrase}" if phrase[0] in "aeiou" else f"a {phrase}"


def budget(rng: random.Random) -> int:
    return rng.choices(list(BUDGETS), list(BUDGETS.values()))[0]


def canvas_size(rng: random.Random, tokens: int) -> tuple[int, int]:
    """A picture's size, larger where it is cut into many patches."""
    size = rng.choice(SIZES)
    scale = 1.0 if tokens < 200 else rng.uniform(1.0, 2.5)
    return int(size[0] * scale), int(size[1] * scale)


def photographed(rng: random.Random, image: Image.Image) -> Image.Image:
    """What cameras and files do: some blur, some loss of JPEG."""
    if rng.random() < 0.1:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 1.5)))
    if rng.random() < 0.12:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=rng.randint(15, 85))
        image = Image.open(file).convert("RGB")
    return image


def place(rng: random.Random, image: Image.Image, thing: Thing, fill: Colour, how: str) -> None:
    """Draw a thing on a picture."""
    r = thing.radius * min(image.size)
    points = outline(rng, thing.shape, rng.choice([0.0, 0.3, 1.0]))
    shifted = [(thing.x * image.width + x * r, thing.y * image.height + y * r) for x, y in points]
    draw(rng, image, shifted, fill, how, r)


def paint(rng: random.Random, things: list[Thing], size: tuple[int, int]) -> tuple[Image.Image, Marks]:
    """A picture of `things` and its auxiliary marks."""
    fills = {thing.colour: shade(rng, thing.colour) for thing in things}
    image = background(rng, size, list(fills.values()))
    how = style(rng)
    for thing in things:
        place(rng, image, thing, fills[thing.colour], how)
    kinds = [SHAPE_CLASS + SHAPES.index(t.shape) if t.shape in SHAPES else SHAPE_CLASS + len(SHAPES) for t in things]
    marks = [(t.x, t.y, kind) for t, kind in zip(things, kinds, strict=True)]
    return photographed(rng, image), marks


def one_thing(rng: random.Random, shape: str | None = None, colour: str | None = None, clear: bool = False) -> Thing:
    """A thing anywhere in the picture; with `clear`, away from the borders between the nine places."""
    radius = rng.uniform(0.1, 0.36)
    margin = radius * 1.05
    at = [rng.uniform(margin, 1 - margin) for _ in range(2)]
    if clear:
        radius = rng.uniform(0.08, 0.2)
        at = [(rng.randint(0, 2) + 0.5) / 3 + rng.uniform(-0.06, 0.06) for _ in range(2)]
        at = [min(max(p, radius), 1 - radius) for p in at]
    return Thing(shape or rng.choice(SHAPES), colour or rng.choice(list(COLOURS)), *at, radius)


def strange_shape(rng: random.Random) -> Thing:
    """A shape that nano doesn't know, in a colour that it knows."""
    return one_thing(rng, shape=rng.choice(UNKNOWN))


def strange_colour(rng: random.Random) -> Thing:
    return one_thing(rng, colour=rng.choice(list(UNKNOWN_RANGES)))


def different(rng: random.Random, count: int) -> list[Thing]:
    """Things that differ in shape and in colour, from left to right."""
    shapes, tints = rng.sample(SHAPES, count), rng.sample(list(COLOURS), count)
    radius = rng.uniform(0.09, 0.17 if count == 2 else 0.13)
    while True:
        spots = _row(rng, count, radius) if rng.random() < 0.5 else _scattered(rng, count, radius)
        spots.sort()
        if all(b[0] - a[0] > 0.1 for a, b in pairwise(spots)):
            return [Thing(s, c, x, y, radius) for s, c, (x, y) in zip(shapes, tints, spots, strict=True)]


def several(rng: random.Random, count: int, same: float = 0.7) -> list[Thing]:
    """`count` things well apart from each other, all alike with probability `same`."""
    radius = rng.uniform(0.06, 0.14 if count < 4 else 0.12)
    shape, colour = rng.choice(SHAPES), rng.choice(list(COLOURS))
    alike = rng.random() < same
    layout = rng.choices([_cells, _scattered, _row, _round], [0.4, 0.3, 0.2, 0.1])[0]
    return [
        Thing(shape, colour, x, y, radius)
        if alike
        else Thing(rng.choice(SHAPES), rng.choice(list(COLOURS)), x, y, radius)
        for x, y in layout(rng, count, min(radius, 0.11) if layout in (_row, _round) else radius)
    ]


def many(rng: random.Random) -> list[Thing]:
    """Six to nine things: more than nano counts."""
    shape, colour, radius = rng.choice(SHAPES), rng.choice(list(COLOURS)), rng.uniform(0.05, 0.1)
    return [Thing(shape, colour, x, y, radius) for x, y in _cells(rng, rng.randint(6, 9), radius)]


def _cells(rng: random.Random, count: int, radius: float) -> list[tuple[float, float]]:
    """Centres in different cells of a 3 x 3 grid."""
    jitter = 1 / 6 - radius
    chosen = rng.sample(range(9), count)
    return [tuple((at + 0.5) / 3 + rng.uniform(-jitter, jitter) for at in (c % 3, c // 3)) for c in chosen]


def _scattered(rng: random.Random, count: int, radius: float) -> list[tuple[float, float]]:
    """Centres anywhere, at least 2.8 radii apart."""
    while True:
        spots: list[tuple[float, float]] = []
        for _ in range(60):
            x, y = (rng.uniform(radius * 1.1, 1 - radius * 1.1) for _ in range(2))
            if all(math.hypot(x - other[0], y - other[1]) > 2.8 * radius for other in spots):
                spots.append((x, y))
            if len(spots) == count:
                return spots


def _row(rng: random.Random, count: int, radius: float) -> list[tuple[float, float]]:
    """Centres side by side, above each other or along a slope."""
    step = rng.uniform(min(2.3 * radius, 0.9 / count), 0.95 / count)
    start = rng.uniform(radius, max(radius, 1 - radius - step * (count - 1)))
    across, slope = rng.uniform(0.2, 0.8), rng.uniform(-0.05, 0.05)
    spots = [(start + step * i, across + slope * i) for i in range(count)]
    return spots if rng.random() < 0.65 else [(y, x) for x, y in spots]


def _round(rng: random.Random, count: int, radius: float) -> list[tuple[float, float]]:
    """Centres on a circle about the middle."""
    turn = rng.uniform(0, 6.28)
    angles = [turn + 2 * math.pi * i / max(count, 3) for i in range(count)]
    return [(0.5 + 0.33 * math.cos(a), 0.5 + 0.33 * math.sin(a)) for a in angles]


def to_picture(rng: random.Random, things: list[Thing], tokens: int | None = None) -> Picture:
    tokens = tokens or budget(rng)
    return picture(*paint(rng, things, canvas_size(rng, tokens)), tokens)
