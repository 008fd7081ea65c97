"""Corner points of the shapes that nano names and of others, about (0, 0) with radius 1, y downwards."""

import math
import random

Points = list[tuple[float, float]]

SHAPES = ["circle", "square", "triangle", "star", "cross", "diamond", "heart"]
UNKNOWN = ["pentagon", "hexagon", "rectangle", "ellipse", "arrow", "house", "half", "slanted", "drop", "bolt", "ring"]
# How far each may be turned (radians): a square on its corner would be a diamond.
_TURNS = {"square": 0.35, "diamond": 0.3, "heart": 0.6, "cross": 0.4, "triangle": math.pi, "star": math.pi}


def _ring(count: int, radii: list[float], phase: float = -math.pi / 2) -> Points:
    angles = [phase + 2 * math.pi * i / count for i in range(count)]
    return [(radii[i % len(radii)] * math.cos(a), radii[i % len(radii)] * math.sin(a)) for i, a in enumerate(angles)]


def _heart() -> Points:
    steps = [2 * math.pi * i / 40 for i in range(40)]
    x = [math.sin(t) ** 3 for t in steps]
    y = [-(13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)) / 16 for t in steps]
    return list(zip(x, y, strict=True))


def _cross(w: float) -> Points:
    corner = [
        (-w, -1),
        (w, -1),
        (w, -w),
        (1, -w),
        (1, w),
        (w, w),
        (w, 1),
        (-w, 1),
        (-w, w),
        (-1, w),
        (-1, -w),
        (-w, -w),
    ]
    return [(float(x), float(y)) for x, y in corner]


def _box(width: float, height: float, slant: float = 0.0) -> Points:
    return [(-width + slant, -height), (width + slant, -height), (width - slant, height), (-width - slant, height)]


def known(rng: random.Random, shape: str) -> Points:  # noqa: PLR0911
    if shape == "circle":
        return _ring(48, [1.0])
    if shape == "square":
        return _ring(4, [1.2], math.pi / 4)
    if shape == "diamond":
        width = rng.uniform(0.68, 0.85)
        return [(0, -1.15), (width, 0), (0, 1.15), (-width, 0)]
    if shape == "triangle":
        wide = rng.uniform(0.85, 1.15)
        return [(x * wide, y) for x, y in _ring(3, [1.2])]
    if shape == "star":
        return _ring(10, [1.15, rng.uniform(0.42, 0.55)])
    if shape == "cross":
        return _cross(rng.uniform(0.24, 0.42))
    return _heart()


def unknown(rng: random.Random, shape: str) -> Points:  # noqa: PLR0911
    if shape in ("pentagon", "hexagon"):
        return _ring(5 if shape == "pentagon" else 6, [1.1])
    if shape == "rectangle":
        return _box(1.1, rng.uniform(0.3, 0.55))
    if shape == "ellipse":
        return [(x, y * rng.uniform(0.42, 0.43)) for x, y in _ring(48, [1.1])]
    if shape == "arrow":
        return [(-1, -0.25), (0.2, -0.25), (0.2, -0.7), (1.1, 0), (0.2, 0.7), (0.2, 0.25), (-1, 0.25)]
    if shape == "house":
        return [(-0.8, 1), (-0.8, -0.2), (0, -1.1), (0.8, -0.2), (0.8, 1)]
    if shape == "half":
        return [(x, y) for x, y in _ring(48, [1.1], 0.0) if y >= -0.01]
    if shape == "slanted":
        return _box(0.8, 0.55, rng.choice([-0.35, 0.35]))
    if shape == "drop":
        return [(0.0, -1.25), *((0.75 * x, 0.3 + 0.75 * y) for x, y in _ring(40, [1.0], -0.5) if y > -0.55)]
    if shape == "bolt":
        return [(0.2, -1.2), (-0.7, 0.2), (-0.1, 0.2), (-0.3, 1.2), (0.7, -0.3), (0.05, -0.3)]
    inner = _ring(40, [rng.uniform(0.45, 0.65)])
    return [*_ring(40, [1.1]), (0, -1.1), *reversed(inner), inner[-1]]


def outline(rng: random.Random, shape: str, turned: float) -> Points:
    """The shape turned by up to the share `turned` of what it allows."""
    points = known(rng, shape) if shape in SHAPES else unknown(rng, shape)
    most = _TURNS.get(shape, 0.5) * turned
    angle = rng.uniform(-most, most)
    c, s = math.cos(angle), math.sin(angle)
    return [(x * c - y * s, x * s + y * c) for x, y in points]
