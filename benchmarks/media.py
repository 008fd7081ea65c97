"""A 12-megapixel JPEG to patches, and a 60 s 1080p MP4 to 32 frames: time and peak memory, beside mlx-vlm's.

usage:  python benchmarks/media.py [--mlx-vlm-python PATH] [--rounds 3] [--folder FOLDER]

Every measurement is a process of its own; the two packages take turns. "added" is above what the imports take.
PATH is the interpreter of an environment with mlx-vlm and opencv, if this one has neither.
FOLDER keeps the two generated files for the next run.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

MAX_FRAMES, FRAME_BUDGET, IMAGE_BUDGET = 32, 70, 280


def main() -> None:
    parser = argparse.ArgumentParser(description="Decode a photograph and a film; compare with mlx-vlm.")
    parser.add_argument("--mlx-vlm-python", default=sys.executable, metavar="PATH")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--make", nargs=2, metavar=("KIND", "FILE"), help=argparse.SUPPRESS)
    parser.add_argument("--measure", nargs=3, metavar=("PACKAGE", "KIND", "FILE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(*options.measure)))
        return
    if options.make:
        {"image": make_photo, "video": make_film}[options.make[0]](Path(options.make[1]))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        for kind, path, make in (
            ("image", folder / "photo.jpg", make_photo),
            ("video", folder / "film.mp4", make_film),
        ):
            if not path.exists():
                make(path)
            compare(kind, path, options.mlx_vlm_python, options.rounds)


def compare(kind: str, path: Path, vlm_python: str, rounds: int) -> None:
    """Run both packages in turn and print the medians and their ratios."""
    runs: dict[str, list[dict[str, float]]] = {"gemma4_mlx": [], "mlx_vlm": []}
    for _ in range(rounds):
        for package, python in (("gemma4_mlx", sys.executable), ("mlx_vlm", vlm_python)):
            command = [python, __file__, "--measure", package, kind, str(path)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                runs[package].append(json.loads(done.stdout.splitlines()[-1]))
    medians = {
        package: {key: statistics.median(run[key] for run in results) for key in results[0]}
        for package, results in runs.items()
        if results
    }
    print(f"{kind} ({path.stat().st_size / 1e6:.1f} MB, median of {rounds})")
    for package, values in medians.items():
        print(f"  {package:<11}", "  ".join(f"{key} {value:.3f}" for key, value in values.items()))
    if len(medians) == 2:
        ratios = {key: medians["gemma4_mlx"][key] / value for key, value in medians["mlx_vlm"].items() if value}
        print("  ratio      ", "  ".join(f"{key} {value:.3f}" for key, value in ratios.items()))
    else:
        print("  mlx_vlm could not be run: pass --mlx-vlm-python an interpreter that imports it")


def measure(package: str, kind: str, path: str) -> dict[str, float]:
    """Decode once in this process: seconds and megabytes, with and without what the imports take."""
    started = time.perf_counter()
    decode = {
        ("gemma4_mlx", "image"): our_image,
        ("gemma4_mlx", "video"): our_video,
        ("mlx_vlm", "image"): their_image,
        ("mlx_vlm", "video"): their_video,
    }[package, kind]()
    imported, base = time.perf_counter(), peak_megabytes()
    decode(path)
    finished, peak = time.perf_counter(), peak_megabytes()
    return {
        "import_s": imported - started,
        "decode_s": finished - imported,
        "total_s": finished - started,
        "peak_MB": peak,
        "added_MB": peak - base,
    }


def peak_megabytes() -> float:
    """ru_maxrss is in kilobytes on Linux, in bytes on macOS."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def our_image() -> Callable[[str], Any]:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    import_module("PIL.JpegImagePlugin")
    from gemma4_mlx.media.images import load_image

    return lambda path: load_image(path, IMAGE_BUDGET)


def our_video() -> Callable[[str], Any]:
    """Frames only, as the other package has no soundtrack."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    import_module("av")
    import_module("PIL.Image")
    from gemma4_mlx.media.video import load_video

    return lambda path: load_video(path, max_frames=MAX_FRAMES, budget=FRAME_BUDGET, soundtrack=False)


def their_image() -> Callable[[str], Any]:
    import_module("PIL.JpegImagePlugin")
    from mlx_vlm.models.gemma4_unified.processing_gemma4_unified import Gemma4UnifiedImageProcessor
    from mlx_vlm.utils import load_image

    processor = Gemma4UnifiedImageProcessor(max_soft_tokens=IMAGE_BUDGET)
    return lambda path: processor.preprocess([load_image(path)])


def their_video() -> Callable[[str], Any]:
    import_module("cv2")
    from mlx_vlm.models.gemma4_unified.processing_gemma4_unified import Gemma4UnifiedVideoProcessor
    from mlx_vlm.utils import load_video

    processor = Gemma4UnifiedVideoProcessor(max_soft_tokens=FRAME_BUDGET, num_frames=MAX_FRAMES)
    return lambda path: processor(load_video(path, nframes=MAX_FRAMES)[0])


def scenery(width: int, height: int) -> np.ndarray:
    """Soft shapes of many sizes, sharp edges and a little grain: about as hard to encode as a photograph."""
    from PIL import Image

    random = np.random.default_rng(0)
    sheet = np.full((height, width, 3), 128, np.float32)
    for cells, strength in ((8, 60), (32, 40), (128, 25), (512, 12)):
        coarse = random.integers(0, 256, (cells * 3 // 4, cells, 3), dtype=np.uint8)
        smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
        sheet += strength * (smooth.astype(np.float32) / 128 - 1)
    for left, top in zip(random.integers(0, width - 90, 150), random.integers(0, height - 60, 150), strict=True):
        sheet[top : top + 60, left : left + 90] = random.integers(0, 256, 3)
    return np.clip(sheet + random.normal(0, 3, sheet.shape), 0, 255).astype(np.uint8)


def make_photo(path: Path) -> None:
    from PIL import Image

    Image.fromarray(scenery(4000, 3000)).save(path, quality=90)


def make_film(path: Path, seconds: int = 60, rate: int = 30) -> None:
    """A camera moving over a still scene, encoded by x264 with its usual groups of pictures."""
    import av

    sheet = scenery(1920 + 8 * seconds, 1080 + 4 * seconds)
    with av.open(path, "w", format="mp4") as output:
        stream = output.add_stream("libx264", rate=rate, options={"preset": "veryfast", "crf": "26"})
        stream.width, stream.height, stream.pix_fmt = 1920, 1080, "yuv420p"
        for number in range(seconds * rate):
            x, y = 8 * number // rate, 4 * number // rate
            view = np.ascontiguousarray(sheet[y : y + 1080, x : x + 1920])
            output.mux(stream.encode(av.VideoFrame.from_ndarray(view, format="rgb24")))
        output.mux(stream.encode(None))


if __name__ == "__main__":
    main()
