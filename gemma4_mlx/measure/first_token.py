"""Time to the first token of a question about each kind of media.

The media are made up and decoded already: how long decoding takes depends on the file.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import numpy as np

from gemma4_mlx.config import AudioConfig, ModelConfig, VisionConfig
from gemma4_mlx.engine.prefill import prefill
from gemma4_mlx.measure.speed import Samples, Setup
from gemma4_mlx.media.images import Patches
from gemma4_mlx.media.video import Video
from gemma4_mlx.model.unified import Gemma4Unified
from gemma4_mlx.prompt.processor import Processor

QUESTION = "Describe what you see or hear in one sentence."
TOKENS_A_SECOND = 25
AUDIO_SECONDS, VIDEO_SECONDS, VIDEO_FRAMES = 30, 60, 32


@dataclass(frozen=True, slots=True)
class Case:
    """A question, and the media in front of it.

    Attributes:
        name: what is asked about.
        parts: media parts of a message.
        audio_seconds: how long its sound is; 0 without sound.
    """

    name: str
    parts: Sequence[Mapping[str, Any]]
    audio_seconds: int = 0

    @property
    def messages(self) -> list[dict[str, Any]]:
        """One user turn. Sounds come after the text."""
        text = [{"type": "text", "text": QUESTION}]
        parts = [*text, *self.parts] if self.audio_seconds else [*self.parts, *text]
        return [{"role": "user", "content": parts}]


def cases(config: ModelConfig) -> list[Case]:
    """Text, and a case for each input that the model has."""
    found = [Case("text", [])]
    if config.vision is not None:
        for columns, rows in ((20, 14), (40, 28)):
            picture = patches(config.vision, columns, rows)
            found.append(Case(f"image of {columns * rows} tokens", [{"type": "image", "image": picture}]))
    if config.audio is not None:
        found.append(
            Case(f"audio of {AUDIO_SECONDS} s", [{"type": "audio", "audio": clips(config.audio)}], AUDIO_SECONDS)
        )
    if config.vision is not None:
        found.append(Case(f"video of {VIDEO_SECONDS} s", [{"type": "video", "video": film(config.vision)}]))
    return found


def patches(vision: VisionConfig, columns: int, rows: int) -> Patches:
    """A picture of noise, one token for each of its squares."""
    y, x = np.divmod(np.arange(columns * rows, dtype=np.int32), np.int32(columns))
    pixels = np.random.default_rng(0).integers(0, 256, (columns * rows, vision.patch_size**2 * 3), dtype=np.uint8)
    return Patches(pixels, np.stack((x, y), axis=1))


def clips(audio: AudioConfig) -> list[np.ndarray]:
    """One clip of noise."""
    shape = (AUDIO_SECONDS * TOKENS_A_SECOND, audio.samples_per_token)
    return [np.random.default_rng(0).uniform(-0.5, 0.5, shape).astype(np.float32)]


def film(vision: VisionConfig) -> Video:
    """Silent frames of 70 tokens, evenly spread."""
    times = [index * VIDEO_SECONDS / VIDEO_FRAMES for index in range(VIDEO_FRAMES)]
    return Video([patches(vision, 10, 7) for _ in times], times, [])


def run_case(
    model: Gemma4Unified,
    processor: Processor,
    case: Case,
    setup: Setup,
    repeats: int,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Samples, int]:
    """Asks once to warm up and then `repeats` times; also returns the prompt's length in tokens."""
    mx.clear_cache()
    mx.reset_peak_memory()
    seconds, length = [], 0
    for done in range(repeats + 1):
        if progress is not None:
            progress(done, repeats)
        started = time.perf_counter()
        prompt = processor.prompt(case.messages)
        length = len(prompt.ids)
        logits = prefill(model, prompt, model.make_caches(length + 1, setup.kv_bits), setup.chunk)
        mx.eval(mx.argmax(logits, axis=-1))
        seconds.append(time.perf_counter() - started)
    return Samples(seconds[1:], mx.get_peak_memory()), length
