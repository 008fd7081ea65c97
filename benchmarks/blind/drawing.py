"""Drawing by formula: every shape is the set of points (x, y) that a condition holds for, y downwards, radius 1."""

import random
from collections.abc import Callable

import numpy as np

Mask = np.ndarray
SIDE = 420  # pixels

RGB = {
    "red": (214, 28, 36),
    "orange": (250, 148, 20),
    "yellow": (252, 222, 30),
    "green": (24, 150, 60),
    "blue": (28, 78, 216),
    "purple": (124, 40, 170),
    "pink": (255, 130, 190),
    "black": (12, 12, 12),
    "white": (252, 252, 252),
}
STRANGE_RGB = {"turquoise": (40, 200, 200), "brown": (110, 66, 30), "grey": (128, 128, 128), "olive": (112, 112, 30)}


def _star(x: Mask, y: Mask) -> Mask:
    """Five straight-edged points: the line from a tip (1.1) to the next notch (0.48), 36 degrees on, in polar form."""
    fifth = 2 * np.pi / 5
    from_tip = np.abs(np.mod(np.arctan2(x, -y) + fifth / 2, fifth) - fifth / 2)
    notch_x, notch_y = 0.48 * np.cos(fifth / 2), 0.48 * np.sin(fifth / 2)
    edge = 1.1 * notch_y / (notch_y * np.cos(from_tip) - (notch_x - 1.1) * np.sin(from_tip))
    return np.hypot(x, y) < edge


def _triangle(x: Mask, y: Mask) -> Mask:
    return (y < 0.62) & (y > 1.75 * np.abs(x) - 1.1)


def _heart(x: Mask, y: Mask) -> Mask:
    x, y = x * 1.15, -y * 1.15 + 0.15
    return (x**2 + y**2 - 1) ** 3 - x**2 * y**3 < 0


SHAPES: dict[str, Callable[[Mask, Mask], Mask]] = {
    "circle": lambda x, y: np.hypot(x, y) < 1,
    "square": lambda x, y: np.maximum(np.abs(x), np.abs(y)) < 0.85,
    "triangle": _triangle,
    "star": _star,
    "cross": lambda x, y: (np.minimum(np.abs(x), np.abs(y)) < 0.32) & (np.maximum(np.abs(x), np.abs(y)) < 1),
    "diamond": lambda x, y: np.abs(x) / 0.75 + np.abs(y) / 1.1 < 1,
    "heart": _heart,
}
STRANGE: dict[str, Callable[[Mask, Mask], Mask]] = {
    "crescent": lambda x, y: (np.hypot(x, y) < 1) & (np.hypot(x - 0.5, y) > 0.85),
    "gear": lambda x, y: np.hypot(x, y) < 0.8 + 0.2 * np.sign(np.sin(9 * np.arctan2(y, x))),
    "spiral": lambda x, y: (
        np.mod(np.hypot(x, y) * 3 - np.arctan2(y, x) / 2 / np.pi, 1) < np.where(np.hypot(x, y) < 1, 0.45, -1)
    ),
    "trapezoid": lambda x, y: (np.abs(y) < 0.55) & (np.abs(x) < 0.75 + 0.5 * y),
    "cloud": lambda x, y: (np.hypot(x + 0.5, y) < 0.45) | (np.hypot(x, y + 0.2) < 0.55) | (np.hypot(x - 0.5, y) < 0.45),
    "fish": lambda x, y: (np.hypot(x / 0.8, y / 0.45) < 1) | ((x > 0.6) & (x < 1.1) & (np.abs(y) < x - 0.6)),
}
TURNS = {"square": 0.3, "diamond": 0.25, "heart": 0.5, "cross": 0.35, "triangle": 3.0, "star": 3.0}


def grid(width: int, height: int) -> tuple[Mask, Mask]:
    """Pixel centres as x and y from 0 to 1 across and down."""
    return np.meshgrid((np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height)


def mask(
    name: str, at: tuple[float, float], radius: float, turn: float, size: tuple[int, int], scale: float = 1.0
) -> Mask:
    """Coverage [height, width] in 0..1 of a shape; `radius` is a share of the shorter side."""
    x, y = grid(size[0] * 2, size[1] * 2)
    reach = radius * min(size)
    x, y = (x - at[0]) * size[0] / reach, (y - at[1]) * size[1] / reach
    c, s = np.cos(turn), np.sin(turn)
    inside = (SHAPES | STRANGE)[name]((x * c + y * s) / scale, (y * c - x * s) / scale).astype(np.float32)
    return inside.reshape(size[1], 2, size[0], 2).mean((1, 3))


def line(name: str, at: tuple[float, float], radius: float, turn: float, size: tuple[int, int]) -> Mask:
    """The outline of a shape."""
    return mask(name, at, radius, turn, size) - mask(name, at, radius, turn, size, 0.8)


def dabs(
    rng: random.Random, name: str, at: tuple[float, float], radius: float, turn: float, size: tuple[int, int]
) -> Mask:
    """The outline as a child's chalk draws it: many dabs near the edge, none quite on it."""
    filled = mask(name, at, radius, turn, size)
    edge = np.argwhere((np.abs(np.gradient(filled)[0]) + np.abs(np.gradient(filled)[1])) > 0.2)
    chosen = edge[[rng.randrange(len(edge)) for _ in range(max(120, len(edge) // 4))]]
    made = np.zeros((size[1], size[0]), np.float32)
    thick = max(2.0, radius * min(size) * 0.07)
    reach = int(thick) + 2
    yy, xx = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    for y, x in chosen + np.array([[rng.gauss(0, thick / 2), rng.gauss(0, thick / 2)] for _ in chosen]):
        row, column = int(y), int(x)
        if reach <= row < size[1] - reach and reach <= column < size[0] - reach:
            dab = np.clip(thick - np.hypot(yy - (y - row), xx - (x - column)), 0, 1) * rng.uniform(0.6, 1)
            spot = made[row - reach : row + reach + 1, column - reach : column + reach + 1]
            np.maximum(spot, dab, out=spot)
    return made


def paper(rng: random.Random, size: tuple[int, int], ink: tuple[int, int, int], kind: str = "flat") -> Mask:
    """float32 [height, width, 3]: flat, a gradient or paper with grain, light under dark ink and dark under light."""
    light = sum(ink) / 3 < 190
    base = np.array([rng.uniform(222, 250)] * 3 if light else [rng.uniform(25, 60)] * 3) + np.array(
        [rng.uniform(-8, 8) for _ in range(3)]
    )
    made = np.broadcast_to(base, (size[1], size[0], 3)).astype(np.float32).copy()
    if kind == "gradient":
        x, y = grid(*size)
        slope = (x * rng.uniform(-1, 1) + y * rng.uniform(-1, 1))[..., None]
        tint = np.array([rng.uniform(-60, 10) for _ in range(3)]) * (1 if light else -1)
        made += slope * tint
    if kind == "grain":
        made += np.random.default_rng(rng.getrandbits(30)).normal(0, 9, made.shape)
    return made


def inked(ground: Mask, cover: Mask, ink: tuple[int, int, int]) -> np.ndarray:
    """uint8 picture of a cover of ink on paper."""
    made = ground * (1 - cover[..., None]) + np.array(ink, np.float32) * cover[..., None]
    return np.clip(made, 0, 255).astype(np.uint8)
