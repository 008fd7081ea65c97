"""Small real media files for the tests, made by the encoders that come with the package's own libraries."""

import io
import struct
import tempfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import soundfile
from PIL import Image


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """A smooth coloured gradient with a sharp-edged box: what photographs and screenshots are made of."""
    y, x = np.mgrid[0:height, 0:width]
    rgb = np.stack((x * 255 // max(1, width - 1), y * 255 // max(1, height - 1), (x + y + seed * 40) % 256), axis=-1)
    rgb[height // 4 : height // 2, width // 4 : width // 2] = (250, 10, 60)
    return Image.fromarray(rgb.astype(np.uint8))


def image_bytes(image: Image.Image, format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def tone(seconds: float, rate: int = 16_000, pitch: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * pitch * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def wav_bytes(samples: np.ndarray, rate: int = 16_000, subtype: str = "PCM_16", format: str = "WAV") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, subtype=subtype, format=format)
    return file.getvalue()


def encoded_sound(samples: np.ndarray, rate: int, codec: str, container: str, **options: str) -> bytes:
    """Mono float samples through one of FFmpeg's encoders."""
    file = io.BytesIO()
    with av.open(file, "w", format=container, options=options) as output:
        stream = output.add_stream(codec, rate=rate, layout="mono")
        _mux_sound(output, stream, samples, rate)
    return file.getvalue()


def frame_picture(number: int, width: int, height: int) -> np.ndarray:
    """A frame that shows its own number: grey level 8 x number below, and above a bar that only the upright top has."""
    rgb = np.full((height, width, 3), (8 * number) % 248, dtype=np.uint8)
    rgb[: height // 4] = 255
    return rgb


def frame_number(pixels: np.ndarray) -> int:
    """The number that `frame_picture` painted, from the frame's patches."""
    return round(float(np.median(pixels[-1])) / 8)


def video_bytes(
    count: int = 30,
    size: tuple[int, int] = (192, 96),
    *,
    rate: int = 10,
    codec: str = "libx264",
    container: str = "mp4",
    times: list[int] | None = None,
    sound: np.ndarray | None = None,
    sound_codec: str = "aac",
    sound_rate: int = 48_000,
    rotation: int | None = None,
    aspect: tuple[int, int] | None = None,
    flag: bool = False,
    encoder: dict[str, str] | None = None,
    **options: str,
) -> bytes:
    """Numbered frames at `rate` a second, or shown at `times` (in 1/1000 s); `sound` is mono.

    `aspect` is that of a pixel; `flag` paints a red one at the bottom left.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video"  # a real file: "+faststart" reads back what it wrote
        with av.open(path, "w", format=container, options=options) as output:
            stream = output.add_stream(codec, rate=rate, options=encoder or {})
            stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
            if times:
                stream.codec_context.time_base = Fraction(1, 1000)
            if aspect:
                stream.codec_context.sample_aspect_ratio = Fraction(*aspect)
            if rotation:
                stream.set_display_rotation(rotation)
            voice = output.add_stream(sound_codec, rate=sound_rate, layout="mono") if sound is not None else None
            for number in range(count):
                rgb = frame_picture(number, *size)
                if flag:
                    rgb[size[1] // 2 :, : size[0] // 3] = (250, 0, 0)
                frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
                frame.pts, frame.time_base = (
                    (times[number], Fraction(1, 1000)) if times else (number, Fraction(1, rate))
                )
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
            if voice is not None:
                _mux_sound(output, voice, sound, sound_rate)
        return path.read_bytes()


def _mux_sound(output: av.container.OutputContainer, stream: av.AudioStream, samples: np.ndarray, rate: int) -> None:
    """Encoders differ in the sample format they take; the resampler gives them theirs."""
    to_format = av.AudioResampler(format=stream.format, layout="mono", rate=rate)
    size = stream.codec_context.frame_size or 1024
    for start in range(0, len(samples), size):
        frame = av.AudioFrame.from_ndarray(samples[None, start : start + size], format="flt", layout="mono")
        frame.sample_rate, frame.pts = rate, start
        for part in to_format.resample(frame):
            output.mux(stream.encode(part))
    output.mux(stream.encode(None))


def remuxed(data: bytes, container: str, moved: Callable[[str, float], float | None]) -> bytes:
    """The same packets with other times: `moved` gets a packet's kind of stream and its seconds; None leaves it out."""
    file = io.BytesIO()
    with av.open(io.BytesIO(data)) as source, av.open(file, "w", format=container) as output:
        streams = {stream.index: output.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            seconds = None if packet.pts is None else moved(packet.stream.type, float(packet.pts * packet.time_base))
            if seconds is None:
                continue
            lag = packet.pts - packet.dts
            packet.pts = round(seconds / packet.time_base)
            packet.dts = packet.pts - lag
            packet.stream = streams[packet.stream_index]
            output.mux(packet)
    return file.getvalue()


def chunk(name: bytes, *parts: bytes) -> bytes:
    """A box of an MP4 file."""
    content = b"".join(parts)
    return struct.pack(">I4s", 8 + len(content), name) + content


def numbers32(*values: int) -> bytes:
    """Big-endian 32-bit numbers."""
    return struct.pack(f">{len(values)}I", *values)
