"""Whether this machine computes what it should: each device and each path against one pass on the CPU."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial

import mlx.core as mx
import numpy as np

from gemma4_mlx.api import load
from gemma4_mlx.config import ModelConfig
from gemma4_mlx.errors import one_line
from gemma4_mlx.measure.paths import PATHS, Path, media_prompt, one_pass, text_prompt
from gemma4_mlx.measure.questions import Question, questions
from gemma4_mlx.measure.random_model import random_model
from gemma4_mlx.measure.shapes import make_config
from gemma4_mlx.model.unified import Gemma4Unified
from gemma4_mlx.prompt.processor import Processor
from gemma4_mlx.prompt.prompt import Prompt

KV_BITS = (None, 8, 4)
REFERENCE = "in one pass"
ROUNDING = {8: 0.03, 4: 0.15}
"""What quantized caches may change at most: a few times what they do change here, a third of what wrong masks do."""


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison, or one question.

    Attributes:
        name: what was done.
        device: "cpu" or "gpu".
        found, allowed: what came out and what should; differences are relative to the length of the logits.
        agrees: whether it is so.
        times: of a kernel, its difference from float64 in multiples of what is allowed.
    """

    name: str
    device: str
    found: str
    allowed: str
    agrees: bool
    times: float | None = None


@dataclass(frozen=True, slots=True)
class Trial:
    """A random model with a prompt.

    Attributes:
        name: of the model and its weights.
        config, dtype, bits: see `random_model`.
        prompt: what it reads.
        paths: names of the ways in which it reads it.
        limit: of the relative difference with plain caches.
    """

    name: str
    config: ModelConfig
    prompt: Prompt
    paths: Sequence[str] = tuple(PATHS)
    dtype: mx.Dtype = mx.float32
    bits: int | None = None
    limit: float = 2e-3


def trials() -> list[Trial]:
    """The 12B's heads and windows that are soon full, in each kind of weights; and a prompt long enough for tiles."""
    wide = make_config(
        layers="SSF",
        hidden=128,
        mlp=256,
        heads=16,
        head_dim=256,
        kv_heads=8,
        full_head_dim=512,
        window=32,
        vocab=256,
        context=4096,
    )
    long = make_config(
        layers="SF",
        hidden=64,
        mlp=64,
        heads=16,
        head_dim=32,
        kv_heads=2,
        full_head_dim=64,
        window=1024,
        vocab=256,
        context=4096,
    )
    media, some = media_prompt(wide, tail=50), ("in one pass", "token by token")
    return [
        Trial("picture and sound", wide, media),
        Trial("picture and sound, 4-bit weights", wide, media, some, bits=4),
        Trial("picture and sound, bfloat16", wide, media, some, dtype=mx.bfloat16, limit=0.1),
        Trial("1,600 tokens in tiles", long, text_prompt(long, 1600), ("in one pass", "in chunks", "rolled back")),
    ]


def allowed_difference(trial: Trial, kv_bits: int | None) -> float:
    """With quantized caches, the least difference can move a number to the next step."""
    return trial.limit if kv_bits is None else max(trial.limit, ROUNDING[kv_bits] / 3)


def devices() -> list[mx.DeviceType]:
    """The GPU if there is one, and the CPU."""
    return [mx.cpu] if mx.default_device() == mx.cpu else [mx.gpu, mx.cpu]


def compare(trial: Trial) -> Iterator[Check]:
    """Each path with each kind of caches on each device, against one pass on the CPU with the same caches."""
    model = random_model(trial.config, trial.dtype, trial.bits)
    with on(mx.cpu):
        plain = logits(one_pass, model, trial.prompt, None)
    for kv_bits in KV_BITS:
        with on(mx.cpu):
            expected = logits(one_pass, model, trial.prompt, kv_bits)
        caches = f"{trial.name}, {'plain' if kv_bits is None else f'{kv_bits}-bit'} caches"
        if kv_bits is not None:
            loss = ROUNDING[kv_bits] + trial.limit
            yield guarded(f"{caches} against plain ones", mx.cpu, f"{loss:.1e}", partial(_near, expected, plain, loss))
        limit = allowed_difference(trial, kv_bits)
        for device in devices():
            for name in trial.paths:
                if device != mx.cpu or name != REFERENCE:
                    run = partial(_same, PATHS[name], model, trial.prompt, kv_bits, expected, limit)
                    yield guarded(f"{caches}, {name}", device, f"{limit:.1e}", run)


def on(device: mx.DeviceType) -> AbstractContextManager[object]:
    """A context in which MLX computes on a device."""
    return mx.stream(device)


def logits(path: Path, model: Gemma4Unified, prompt: Prompt, kv_bits: int | None) -> np.ndarray:
    """Logits `(vocab,)` of the last position."""
    return np.array(path(model, prompt, kv_bits)[0].astype(mx.float32))


def difference(found: np.ndarray, expected: np.ndarray) -> float:
    """Length of the difference, in lengths of what is expected; infinite where something is no number."""
    if not np.isfinite(found).all():
        return float("inf")
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def guarded(name: str, device: mx.DeviceType, allowed: str, run: Callable[[], tuple[str, bool]]) -> Check:
    """A check whose failure of any kind is its result: on a machine that nobody has tried, the others still count."""
    where = "cpu" if device == mx.cpu else "gpu"
    try:
        with on(device):
            found, agrees = run()
    except Exception as error:
        return Check(name, where, f"{type(error).__name__}: {one_line(error)}", allowed, agrees=False)
    return Check(name, where, found, allowed, agrees)


def questions_answered() -> Iterator[Check]:
    """The built-in model's answers on each device."""
    model, processor = load("nano")
    for device in devices():
        for question in questions():
            yield guarded(question.text, device, question.answer, partial(_asked, question, model, processor))


def _asked(question: Question, model: Gemma4Unified, processor: Processor) -> tuple[str, bool]:
    said = question.ask(model, processor)
    return said, said.startswith(question.answer)


def _same(
    path: Path, model: Gemma4Unified, prompt: Prompt, kv_bits: int | None, expected: np.ndarray, limit: float
) -> tuple[str, bool]:
    return _near(logits(path, model, prompt, kv_bits), expected, limit)


def _near(found: np.ndarray, expected: np.ndarray, limit: float) -> tuple[str, bool]:
    distance = difference(found, expected)
    return f"{distance:.1e}", distance <= limit
