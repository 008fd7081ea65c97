"""The colours that nano names, colours that it doesn't, and paper that either stands out from."""

import colorsys
import math
import random

Colour = tuple[int, int, int]

COLOURS: dict[str, list[Colour]] = {
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
# Hue in degrees, saturation and value in percent, each from - to: what people still call by the name.
_RANGES = {
    "red": ((-9, 7), (70, 100), (60, 100)),
    "orange": ((23, 37), (75, 100), (88, 100)),
    "yellow": ((48, 60), (65, 100), (88, 100)),
    "green": ((90, 150), (45, 100), (40, 95)),
    "blue": ((206, 243), (60, 100), (50, 100)),
    "purple": ((268, 296), (50, 100), (42, 85)),
    "pink": ((322, 346), (32, 65), (90, 100)),
}
UNKNOWN_RANGES = {
    "brown": ((18, 30), (55, 80), (28, 48)),
    "grey": ((0, 360), (0, 5), (38, 66)),
    "lime": ((66, 76), (60, 100), (70, 95)),
    "beige": ((32, 42), (18, 32), (70, 85)),
}
_CONTRAST = 110  # distance in RGB between a thing and its paper


def _from_ranges(rng: random.Random, ranges: tuple) -> Colour:
    hue, saturation, value = (rng.uniform(*span) for span in ranges)
    return tuple(round(255 * v) for v in colorsys.hsv_to_rgb(hue % 360 / 360, saturation / 100, value / 100))


def shade(rng: random.Random, colour: str) -> Colour:
    """An RGB value that people call `colour`."""
    if colour in UNKNOWN_RANGES:
        return _from_ranges(rng, UNKNOWN_RANGES[colour])
    if colour in _RANGES and rng.random() < 0.5:
        return _from_ranges(rng, _RANGES[colour])
    return tuple(min(255, max(0, v + rng.randint(-12, 12))) for v in rng.choice(COLOURS[colour]))


def distance(a: Colour, b: Colour) -> float:
    return math.dist(a, b)


def nearby(rng: random.Random, colour: Colour, most: int = 40) -> Colour:
    """A colour a little lighter or darker."""
    step = rng.randint(-most, most)
    return tuple(min(255, max(0, v + step)) for v in colour)


def paper(rng: random.Random, inks: list[Colour], contrast: float = _CONTRAST) -> Colour:
    """A colour that all inks stand out from, mostly near white; the best of some if none does."""
    tries = []
    for _ in range(12):
        kind = rng.random()
        if kind < 0.5:
            level = rng.randint(215, 255)
            made = tuple(min(255, max(0, level + rng.randint(-12, 12))) for _ in range(3))
        elif kind < 0.65:
            made = tuple(rng.randint(0, 60) for _ in range(3))
        elif kind < 0.8:
            made = shade(rng, rng.choice(list(COLOURS)))
        else:
            made = tuple(rng.randint(0, 255) for _ in range(3))
        tries.append((min((distance(made, ink) for ink in inks), default=999), made))
        if tries[-1][0] > contrast:
            return made
    return max(tries)[1]
