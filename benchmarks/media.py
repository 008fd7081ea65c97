"""A 12-megapixel JPEG to patches, 30 s of MP3 to frames, and 60 s of 1080p MP4 to 32 frames, here and elsewhere.

python -m benchmarks.media [--peers FOLDER] [-r 5] [--folder FOLDER]

Every measurement is a process of its own; the engines take turns. Times are those of decoding and preparing, imports
are done by then. Memory is what that adds to the process. --folder keeps the generated files for the next run.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.environments import OURS, add_peers_option, interpreters
from benchmarks.peers import resident_peak
from benchmarks.rows import Measure, Row, absent, alternate, print_section, run
from benchmarks.running import run_benchmark

COMMAND = "python -m benchmarks.media"
MAX_FRAMES, FRAME_BUDGET, IMAGE_BUDGET = 32, 70, 280
FILES = {"image": "photo.jpg", "audio": "speech.mp3", "video": "film.mp4"}
NAMES = {
    "image": "12-megapixel JPEG to patches",
    "audio": "30 s of stereo MP3 to frames",
    "video": "60 s of 1080p MP4 to 32 frames",
}

Load = Callable[[str], Any]


def main() -> None:
    """Prints a table for each kind of file."""
    parser = argparse.ArgumentParser(description="Decode a photograph, a recording and a film.")
    add_peers_option(parser)
    parser.add_argument("-r", type=int, default=5, help="rounds")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--measure", nargs=3, metavar=("ENGINE", "KIND", "FILE"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(*args.measure)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        print_section(media_rows(interpreters(args.peers), args.folder or Path(scratch), args.r))


def media_rows(pythons: Mapping[str, str], folder: Path, rounds: int) -> list[Row]:
    """Seconds and added bytes of each kind of file."""
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    for kind, file in FILES.items():
        if not (folder / file).exists():
            MAKERS[kind](folder / file)
        measures: dict[str, Measure | str] = {
            engine: partial(measured, python, engine, kind, folder / file) for engine, python in pythons.items()
        }
        measures |= absent(pythons) | {"mlx-lm": "reads text only"}
        units = {NAMES[kind]: "s", f"{NAMES[kind]}: memory added": "bytes"}
        rows += alternate("Media", COMMAND, measures, units, rounds)
    return rows


def measured(python: str, engine: str, kind: str, path: Path) -> dict[str, float]:
    """One measurement in a process of its own."""
    done = run([python, "-m", "benchmarks.media", "--measure", engine, kind, path])
    found = json.loads(done.splitlines()[-1])
    return {NAMES[kind]: found["seconds"], f"{NAMES[kind]}: memory added": found["added"]}


def measure(engine: str, kind: str, path: str) -> dict[str, float]:
    """Decodes once in this process: seconds, and bytes above what the imports took."""
    load = LOADERS[engine, kind]()
    base, started = resident_peak(), time.perf_counter()
    load(path)
    return {"seconds": time.perf_counter() - started, "added": resident_peak() - base}


def our_image() -> Load:
    import_module("PIL.JpegImagePlugin")
    from gemma4_mlx.media.images import load_image

    return lambda path: load_image(path, IMAGE_BUDGET)


def our_audio() -> Load:
    for name in ("av", "soxr"):
        import_module(name)
    from gemma4_mlx.media.audio import load_audio

    return load_audio


def our_video() -> Load:
    """Frames only, as the others have no soundtrack."""
    for name in ("av", "PIL.Image"):
        import_module(name)
    from gemma4_mlx.media.video import load_video

    return lambda path: load_video(path, max_frames=MAX_FRAMES, budget=FRAME_BUDGET, soundtrack=False)


def vlm_image() -> Load:
    import_module("PIL.JpegImagePlugin")
    from mlx_vlm.models.gemma4_unified.processing_gemma4_unified import Gemma4UnifiedImageProcessor
    from mlx_vlm.utils import load_image

    processor = Gemma4UnifiedImageProcessor(max_soft_tokens=IMAGE_BUDGET)
    return lambda path: processor.preprocess([load_image(path)])


def vlm_audio() -> Load:
    for name in ("mlx_audio.audio_io", "mlx_audio.utils", "scipy.signal"):
        import_module(name)
    from mlx_vlm.models.gemma4_unified.processing_gemma4_unified import Gemma4UnifiedAudioFeatureExtractor
    from mlx_vlm.utils import load_audio

    extractor = Gemma4UnifiedAudioFeatureExtractor()
    return lambda path: extractor([load_audio(path, sr=16000)])


def vlm_video() -> Load:
    import_module("cv2")
    from mlx_vlm.models.gemma4_unified.processing_gemma4_unified import Gemma4UnifiedVideoProcessor
    from mlx_vlm.utils import load_video

    processor = Gemma4UnifiedVideoProcessor(max_soft_tokens=FRAME_BUDGET, num_frames=MAX_FRAMES)
    return lambda path: processor(load_video(path, nframes=MAX_FRAMES)[0])


def torch_image() -> Load:
    from PIL import Image
    from transformers.models.gemma4_unified.image_processing_gemma4_unified import Gemma4UnifiedImageProcessor

    processor = Gemma4UnifiedImageProcessor(max_soft_tokens=IMAGE_BUDGET)
    return lambda path: processor(Image.open(path), return_tensors="pt")


def torch_audio() -> Load:
    for name in ("librosa", "soxr", "soundfile"):
        import_module(name)
    from transformers.audio_utils import load_audio
    from transformers.models.gemma4_unified.feature_extraction_gemma4_unified import Gemma4UnifiedAudioFeatureExtractor

    extractor = Gemma4UnifiedAudioFeatureExtractor()
    return lambda path: extractor([load_audio(path, sampling_rate=16000)], return_tensors="pt")


def torch_video() -> Load:
    """By PyAV, which this package decodes with too."""
    import_module("av")
    from transformers.models.gemma4_unified.video_processing_gemma4_unified import Gemma4UnifiedVideoProcessor
    from transformers.video_utils import load_video

    processor = Gemma4UnifiedVideoProcessor(max_soft_tokens=FRAME_BUDGET)

    def load(path: str) -> Any:
        frames, _ = load_video(path, num_frames=MAX_FRAMES, backend="pyav")
        return processor(frames, do_sample_frames=False, return_tensors="pt")

    return load


LOADERS: dict[tuple[str, str], Callable[[], Load]] = {
    (OURS, "image"): our_image,
    (OURS, "audio"): our_audio,
    (OURS, "video"): our_video,
    ("mlx-vlm", "image"): vlm_image,
    ("mlx-vlm", "audio"): vlm_audio,
    ("mlx-vlm", "video"): vlm_video,
    ("transformers", "image"): torch_image,
    ("transformers", "audio"): torch_audio,
    ("transformers", "video"): torch_video,
}


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
    """12 megapixels."""
    from PIL import Image

    Image.fromarray(scenery(4000, 3000)).save(path, quality=90)


def make_film(path: Path, seconds: int = 60, rate: int = 30) -> None:
    """A camera moving over a still scene, encoded by x264 with its usual groups of pictures."""
    import av

    sheet = scenery(1920 + 8 * seconds, 1080 + 4 * seconds)
    with av.open(str(path), "w", format="mp4") as output:
        stream = output.add_stream("libx264", rate=rate, options={"preset": "veryfast", "crf": "26"})
        stream.width, stream.height, stream.pix_fmt = 1920, 1080, "yuv420p"
        for number in range(seconds * rate):
            x, y = 8 * number // rate, 4 * number // rate
            view = np.ascontiguousarray(sheet[y : y + 1080, x : x + 1920])
            output.mux(stream.encode(av.VideoFrame.from_ndarray(view, format="rgb24")))
        output.mux(stream.encode(None))


def make_speech(path: Path, seconds: int = 30, rate: int = 44100) -> None:
    """Tones that come and go with some noise, in stereo."""
    import av

    random, moments = np.random.default_rng(0), np.arange(seconds * rate) / rate
    tone = np.sin(2 * np.pi * 180 * moments) * np.abs(np.sin(2 * np.pi * 1.5 * moments))
    both = np.stack([tone, 0.7 * tone]) * 0.3 + random.normal(0, 0.02, (2, len(tone)))
    samples = (np.clip(both, -1, 1) * 32767).astype(np.int16)
    with av.open(str(path), "w", format="mp3") as output:
        stream = output.add_stream("libmp3lame", rate=rate, layout="stereo")
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples.T.reshape(1, -1)), format="s16", layout="stereo"
        )
        frame.sample_rate = rate
        resampler = av.AudioResampler(format="s16p", layout="stereo", rate=rate, frame_size=1152)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            output.mux(stream.encode(piece))
        output.mux(stream.encode(None))


MAKERS: dict[str, Callable[[Path], None]] = {"image": make_photo, "audio": make_speech, "video": make_film}


if __name__ == "__main__":
    run_benchmark(main, "a minute, with other engines 2")
