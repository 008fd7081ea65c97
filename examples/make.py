"""Makes the example files beside it: `python examples/make.py` (espeak-ng on the path for the spoken digits)."""

import subprocess
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import soxr
from PIL import Image, ImageDraw

HERE = Path(__file__).parent
PAPER, RED, EDGE = (236, 232, 222), (220, 20, 60), (90, 90, 90)


def photo() -> None:
    """A red circle on paper."""
    image = Image.new("RGB", (480, 360), PAPER)
    ImageDraw.Draw(image).ellipse((150, 90, 330, 270), fill=RED, outline=EDGE, width=4)
    image.save(HERE / "photo.png", optimize=True)


def digits() -> None:
    """Four spoken digits as AAC in an M4A file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        subprocess.run(["espeak-ng", "-v", "en-us", "-s", "130", "-w", path, "4 7 1 9"], check=True)
        with av.open(str(path)) as spoken:
            blocks = [frame.to_ndarray()[0] for frame in spoken.decode(audio=0)]
            rate = spoken.streams.audio[0].rate
    samples = np.concatenate(blocks).astype(np.float32) / 32768
    samples = soxr.resample(samples, rate, 16000)
    with av.open(str(HERE / "digits.m4a"), "w", format="ipod") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono", bit_rate=48000)
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux([*stream.encode(frame), *stream.encode(None)])


def film() -> None:
    """A green circle that moves from left to right for two seconds."""
    with av.open(str(HERE / "film.mp4"), "w") as container:
        stream = container.add_stream("h264", rate=Fraction(12))
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for index in range(24):
            image = Image.new("RGB", (320, 240), PAPER)
            x = 60 + index * 200 // 23
            ImageDraw.Draw(image).ellipse((x - 36, 84, x + 36, 156), fill=(34, 139, 34), outline=EDGE, width=3)
            container.mux(stream.encode(av.VideoFrame.from_image(image)))
        container.mux(stream.encode(None))


if __name__ == "__main__":
    photo()
    digits()
    film()
