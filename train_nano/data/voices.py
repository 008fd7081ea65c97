"""Record the spoken digits of the evaluation with espeak-ng: python -m train_nano.data.voices FOLDER

Writes held_out.npz: int16 samples at 16 kHz end to end, where every clip starts, and what it says. Training speaks its
own clips in other voices (`speaking.py`).
"""

import io
import random
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import soundfile
import soxr

from train_nano.media import RATE

NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
HELD_OUT = ["en-us+m3", "en+f2", "en-gb-x-gbcwmd+m6", "en-us+klatt2"]
STYLES, STRINGS = 3, 40


@dataclass(frozen=True, slots=True)
class Bank:
    """`samples[starts[i]:starts[i + 1]]` says the digits `texts[i]`."""

    samples: np.ndarray
    starts: np.ndarray
    texts: list[str]

    def clip(self, index: int) -> np.ndarray:
        return self.samples[self.starts[index] : self.starts[index + 1]].astype(np.float32) / 32768


def trimmed(sound: np.ndarray) -> tuple[np.ndarray, int]:
    """The sound without silence at both ends, and how many samples were cut off at its start."""
    loud = np.flatnonzero(np.abs(sound) > 0.01)
    return sound[loud[0] : loud[-1] + 1], int(loud[0])


def speak(text: str, voice: str, speed: int, pitch: int) -> np.ndarray:
    """int16 samples at 16 kHz, silence at both ends cut off."""
    command = ["espeak-ng", "-v", voice, "-s", str(speed), "-p", str(pitch), "--stdout", text]
    wav = subprocess.run(command, capture_output=True, check=True).stdout
    data, rate = soundfile.read(io.BytesIO(wav), dtype="float32")
    sound, _ = trimmed(soxr.resample(data, rate, RATE))
    return (np.clip(sound, -1, 1) * 32767).astype(np.int16)


def record(voices: list[str], seed: int) -> tuple[list[np.ndarray], list[str]]:
    """STYLES speeds and pitches a voice, each all ten digits alone and STRINGS strings of 1-5 digits."""
    rng = random.Random(seed)
    clips, texts = [], []
    for voice in voices:
        for _ in range(STYLES):
            speed, pitch = rng.randint(120, 200), rng.randint(25, 75)
            said = [str(d) for d in range(10)]
            said += ["".join(rng.choices("0123456789", k=rng.randint(1, 5))) for _ in range(STRINGS)]
            for digits in said:
                words = rng.choice([" ", " ", ", "]).join(NAMES[int(d)] for d in digits)
                clips.append(speak(words, voice, speed, pitch))
                texts.append(digits)
    return clips, texts


@cache
def load(file: Path) -> Bank:
    with np.load(file) as data:
        return Bank(data["samples"], data["starts"], data["texts"].tolist())


def main(folder: str) -> None:
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    clips, texts = record(HELD_OUT, seed=len(HELD_OUT))
    starts = np.cumsum([0, *map(len, clips)])
    np.savez(out / "held_out.npz", samples=np.concatenate(clips), starts=starts, texts=np.array(texts))
    print(f"{len(clips)} clips, {starts[-1] / RATE / 60:.1f} minutes", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
