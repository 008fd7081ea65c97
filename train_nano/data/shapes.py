"""Coloured shapes on plain, shaded or noisy backgrounds, as somebody would draw them with Pillow."""

import math
import random
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from train_nano.data.sample import SHAPE_CLASS, Picture, picture

SHAPES = ["circle", "square", "triangle", "star", "cross", "diamond", "heart"]
COLOURS = {
    "red": [(255, 0, 0), (220, 20, 60), (200, 30, 30), (178, 34, 34), (230, 57, 53)],
    "orange": [(255, 165, 0), (255, 140, 0), (245, 130, 30)],
    "yellow": [(255, 255, 0), (255, 215, 0), (250, 225, 60)],
    "green": [(0, 128, 0), (0, 200, 0), (34, 139, 34), (60, 180, 75), (0, 255, 0)],
    "blue": [(0, 0, 255), (30, 90, 220), (65, 105, 225), (20, 40, 160), (30, 144, 255)],
    "purple": [(128, 0, 128), (148, 0, 211), (140, 50, 190), (138, 43, 226)],
    "pink": [(255, 192, 203), (255, 105, 180), (255, 150, 190)],
    "black": [(0, 0, 0), (20, 20, 20), (35, 35, 40)],
    "white": [(255, 255, 255), (245, 245, 245), (250, 248, 240)],
}
PLACES = [
    ["top left", "top", "top right"],
    ["left", "center", "right"],
    ["bottom left", "bottom", "bottom right"],
]
NUMBERS = ["no", "one", "two", "three", "four", "five"]
SIZES = [
    (320, 320),
    (400, 400),
    (256, 256),
    (480, 480),
    (512, 512),
    (384, 384),
    (200, 200),
    (640, 480),
    (400, 300),
    (320, 240),
    (300, 400),
]


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


def outline(shape: str, cx: float, cy: float, r: float, turn: float) -> list[tuple[float, float]]:  # noqa: PLR0911
    """Corner points of a shape in pixels."""

    def ring(count: int, radii: list[float], phase: float) -> list[tuple[float, float]]:
        angles = [phase + turn + 2 * math.pi * i / count for i in range(count)]
        return [
            (cx + radii[i % len(radii)] * math.cos(a), cy + radii[i % len(radii)] * math.sin(a))
            for i, a in enumerate(angles)
        ]

    if shape == "circle":
        return ring(48, [r], 0)
    if shape == "square":
        return ring(4, [r * 1.2], math.pi / 4)
    if shape == "diamond":
        return [(cx, cy - r * 1.15), (cx + r * 0.8, cy), (cx, cy + r * 1.15), (cx - r * 0.8, cy)]
    if shape == "triangle":
        return ring(3, [r * 1.2], -math.pi / 2)
    if shape == "star":
        return ring(10, [r * 1.15, r * 0.48], -math.pi / 2)
    if shape == "cross":
        w = r * 0.36
        plus = [
            (-w, -r),
            (w, -r),
            (w, -w),
            (r, -w),
            (r, w),
            (w, w),
            (w, r),
            (-w, r),
            (-w, w),
            (-r, w),
            (-r, -w),
            (-w, -w),
        ]
        c, s = math.cos(turn), math.sin(turn)
        return [(cx + x * c - y * s, cy + x * s + y * c) for x, y in plus]
    steps = [2 * math.pi * i / 40 for i in range(40)]
    return [
        (
            cx + r * math.sin(t) ** 3,
            cy - r / 16 * (13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)),
        )
        for t in steps
    ]


def shade(rng: random.Random, colour: str) -> tuple[int, int, int]:
    """An RGB value that people call `colour`."""
    return tuple(min(255, max(0, v + rng.randint(-12, 12))) for v in rng.choice(COLOURS[colour]))


def background(rng: random.Random, size: tuple[int, int], avoid: set[str]) -> Image.Image:
    """A background that no thing of the colours in `avoid` vanishes in."""
    names = [
        n
        for n in ["white"] * 6 + ["black"] * 2 + ["blue", "green", "yellow", "pink", "red", "purple", "orange"]
        if n not in avoid
    ]
    if rng.random() < 0.2:
        level = rng.randint(90, 170)
        fill = (level, level, level)
    else:
        fill = shade(rng, rng.choice(names)) if rng.random() < 0.6 else rng.choice(COLOURS[rng.choice(names)])
        if rng.random() < 0.25 and not avoid & {"white"}:
            fill = tuple(255 - (255 - v) // 3 for v in fill) if "pink" not in avoid else (255, 255, 255)
    image = Image.new("RGB", size, fill)
    if rng.random() < 0.15:
        noise = np.random.default_rng(rng.getrandbits(32)).normal(0, rng.uniform(2, 14), (size[1], size[0], 1))
        image = Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))
    return image


def draw(
    rng: random.Random,
    canvas: ImageDraw.ImageDraw,
    size: tuple[int, int],
    thing: Thing,
    fill: tuple,
    edge: tuple | None,
) -> None:
    r = thing.radius * min(size)
    turn = rng.uniform(-0.12, 0.12) if rng.random() < 0.4 else 0.0
    points = outline(thing.shape, thing.x * size[0], thing.y * size[1], r, turn)
    canvas.polygon(points, fill=fill)
    if edge:
        canvas.line([*points, points[0]], fill=edge, width=max(2, int(r * 0.08)))


def paint(
    rng: random.Random, things: list[Thing], size: tuple[int, int] | None = None
) -> tuple[Image.Image, list[tuple[float, float, int]]]:
    """A picture of `things` and its auxiliary marks."""
    size = size or rng.choice(SIZES)
    image = background(rng, size, {t.colour for t in things})
    canvas = ImageDraw.Draw(image)
    edge = rng.choice([None, None, None, (0, 0, 0), (90, 90, 90)])
    fills: dict[str, tuple] = {}
    for thing in things:
        fill = fills.setdefault(thing.colour, shade(rng, thing.colour))
        draw(rng, canvas, size, thing, fill, None if thing.colour == "black" else edge)
    if rng.random() < 0.1:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 1.5)))
    return image, [(t.x, t.y, SHAPE_CLASS + SHAPES.index(t.shape)) for t in things]


def one_thing(rng: random.Random, shape: str | None = None, colour: str | None = None, clear: bool = False) -> Thing:
    """A thing anywhere in the picture; with `clear`, away from the borders between the nine places."""
    radius = rng.uniform(0.14, 0.3)
    margin = radius * 0.9
    place = [rng.uniform(margin, 1 - margin) for _ in range(2)]
    if clear:
        radius = rng.uniform(0.11, 0.19)
        place = [(rng.randint(0, 2) + 0.5) / 3 + rng.uniform(-0.05, 0.05) for _ in range(2)]
        place = [min(max(p, radius), 1 - radius) for p in place]
    return Thing(shape or rng.choice(SHAPES), colour or rng.choice(list(COLOURS)), *place, radius)


def several(rng: random.Random, count: int, same: float = 0.7) -> list[Thing]:
    """`count` things well apart from each other, all alike with probability `same`."""
    radius = rng.uniform(0.08, 0.14)
    shape, colour = rng.choice(SHAPES), rng.choice(list(COLOURS))
    alike = rng.random() < same
    return [
        Thing(shape, colour, x, y, radius)
        if alike
        else Thing(rng.choice(SHAPES), rng.choice(list(COLOURS)), x, y, radius)
        for x, y in (_cells if rng.random() < 0.6 else _scattered)(rng, count, radius)
    ]


def _cells(rng: random.Random, count: int, radius: float) -> list[tuple[float, float]]:
    """Centres in different cells of a 3 x 3 grid."""
    jitter = 1 / 6 - radius
    chosen = rng.sample(range(9), count)
    return [tuple((at + 0.5) / 3 + rng.uniform(-jitter, jitter) for at in (c % 3, c // 3)) for c in chosen]


def _scattered(rng: random.Random, count: int, radius: float) -> list[tuple[float, float]]:
    """Centres anywhere, at least 3.2 radii apart."""
    while True:
        spots: list[tuple[float, float]] = []
        for _ in range(60):
            x, y = (rng.uniform(radius * 1.1, 1 - radius * 1.1) for _ in range(2))
            if all(math.hypot(x - other[0], y - other[1]) > 3.2 * radius for other in spots):
                spots.append((x, y))
            if len(spots) == count:
                return spots


def to_picture(rng: random.Random, things: list[Thing], size: tuple[int, int] | None = None) -> Picture:
    return picture(*paint(rng, things, size))
