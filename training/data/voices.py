"""Record a bank of spoken digits with espeak-ng: python -m training.data.voices FOLDER

Writes train.npz and held_out.npz (other voices): int16 samples at 16 kHz end to end, where every clip starts, and what
it says.
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

from training.media import RATE

NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
ACCENTS = ["en-us", "en-gb", "en-gb-x-rp", "en-gb-scotland", "en-gb-x-gbclan", "en-029"]
TIMBRES = ["", "+m1", "+m2", "+m4", "+m5", "+m7", "+f1", "+f3", "+f4", "+f5", "+m8", "+max", "+linda", "+steph"]
HELD_OUT = ["en-us+m3", "en-gb+f2", "en-gb-x-gbcwmd+m6", "en-us+klatt2"]


@dataclass(frozen=True, slots=True)
class Bank:
    """`samples[starts[i]:starts[i + 1]]` says the digits `texts[i]`; clips of one digit come in sets of one voice."""

    samples: np.ndarray
    starts: np.ndarray
    texts: list[str]

    def clip(self, index: int) -> np.ndarray:
        return self.samples[self.starts[index] : self.starts[index + 1]].astype(np.float32) / 32768


def speak(text: str, voice: str, speed: int, pitch: int) -> np.ndarray:
    """int16 samples at 16 kHz, silence at both ends cut off."""
    command = ["espeak-ng", "-v", voice, "-s", str(speed), "-p", str(pitch), "--stdout", text]
    wav = subprocess.run(command, capture_output=True, check=True).stdout
    data, rate = soundfile.read(io.BytesIO(wav), dtype="float32")
    sound = soxr.resample(data, rate, RATE)
    loud = np.flatnonzero(np.abs(sound) > 0.01)
    return (np.clip(sound[loud[0] : loud[-1] + 1], -1, 1) * 32767).astype(np.int16)


def record(voices: list[str], styles: int, strings: int, seed: int) -> tuple[list[np.ndarray], list[str]]:
    """`styles` speeds and pitches a voice, each all ten digits alone and `strings` strings of 1-5 digits."""
    rng = random.Random(seed)
    clips, texts = [], []
    for voice in voices:
        for _ in range(styles):
            speed, pitch = rng.randint(120, 200), rng.randint(25, 75)
            said = [str(d) for d in range(10)]
            said += ["".join(rng.choices("0123456789", k=rng.randint(1, 5))) for _ in range(strings)]
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
    everyone = [accent + timbre for accent in ACCENTS for timbre in TIMBRES]
    for name, voices, styles, strings in (("held_out", HELD_OUT, 3, 40), ("train", everyone, 3, 16)):
        clips, texts = record(voices, styles, strings, seed=len(voices))
        starts = np.cumsum([0, *map(len, clips)])
        np.savez(out / f"{name}.npz", samples=np.concatenate(clips), starts=starts, texts=np.array(texts))
        print(f"{name}: {len(clips)} clips, {starts[-1] / RATE / 60:.1f} minutes", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
