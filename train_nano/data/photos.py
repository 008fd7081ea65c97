"""Photos and patterns of Debian's desktop backgrounds: pictures that nano can't name.

`collect` makes small copies; the evaluation has other photos (`benchmarks/blind`).
"""

import random
from functools import cache
from pathlib import Path

from PIL import Image

from train_nano.settings import PHOTOS, missing

SOURCES = [Path("/usr/share/backgrounds"), Path("/usr/share/wallpapers")]
LONGEST = 1000  # pixels of a copy's longer side


def _originals() -> list[Path]:
    """The largest file of every background."""
    files = [f for root in SOURCES for f in sorted(root.rglob("*")) if f.suffix in (".jpg", ".png", ".webp")]
    best: dict[Path, Path] = {}
    for file in files:
        if file.name.startswith("screenshot") or "desktop" in file.parts:
            continue
        key = file.parent if file.parent.name.startswith("images") else file
        if key not in best or file.stat().st_size > best[key].stat().st_size:
            best[key] = file
    return list(best.values())


def collect() -> None:
    PHOTOS.mkdir(parents=True, exist_ok=True)
    originals = _originals()
    for index, file in enumerate(originals):
        image = Image.open(file)
        image.draft("RGB", (LONGEST * 2, LONGEST * 2))
        image = image.convert("RGB")
        image.thumbnail((LONGEST, LONGEST))
        image.save(PHOTOS / f"{index:03d}.jpg", quality=90)
    print(f"{len(originals)} photos", flush=True)


@cache
def _files() -> list[Path]:
    found = sorted(PHOTOS.glob("*.jpg"))
    if not found:
        raise missing(PHOTOS)
    return found


@cache
def _opened(file: Path) -> Image.Image:
    return Image.open(file).convert("RGB")


def crop(rng: random.Random, size: tuple[int, int]) -> Image.Image:
    """Some part of some photo, often mirrored or turned."""
    whole = _opened(rng.choice(_files()))
    share = rng.uniform(0.25, 1.0)
    scale = share * min(whole.width / size[0], whole.height / size[1])
    width, height = int(size[0] * scale), int(size[1] * scale)
    left, top = rng.randint(0, whole.width - width), rng.randint(0, whole.height - height)
    image = whole.resize(size, Image.Resampling.BILINEAR, (left, top, left + width, top + height))
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return image
