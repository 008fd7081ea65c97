"""Whether this machine reads prompts faster in larger steps than 512: M5's matrix units may."""

from collections.abc import Callable, Mapping

import mlx.core as mx

from gemma4_mlx.config import ModelConfig
from gemma4_mlx.measure.random_model import random_model
from gemma4_mlx.measure.shapes import make_config, published_config
from gemma4_mlx.measure.speed import Job, Samples, Setup, run_job

STEPS = (512, 1024, 2048)
TOKENS, ROUNDS = 4096, 2
WORTH = 1.05
"""Times the speed of 512 from which on another step is worth naming: it takes more memory."""


def measured_steps(progress: Callable[[str], None]) -> tuple[str, Mapping[int, Samples]]:
    """What was read, and the samples of each step."""
    with_gpu = mx.default_device() == mx.gpu
    name = "two 4-bit layers of the 12B" if with_gpu else "a small model on the CPU"
    config = published_config("SF", vocab=4096) if with_gpu else _small()
    model = random_model(config, mx.bfloat16 if with_gpu else mx.float32, bits=4 if with_gpu else None)
    tokens = TOKENS if with_gpu else STEPS[-1]
    samples = {}
    for step in STEPS:
        progress(f"reading {tokens:,} tokens in steps of {step:,}")
        samples[step] = run_job(model, Job("pp", tokens, 0), Setup(chunk=step), ROUNDS if with_gpu else 1)
    return f"{tokens:,} tokens, {name}", samples


def _small() -> ModelConfig:
    """Enough work to be timed on a CPU, in a second."""
    sizes = {"hidden": 64, "mlp": 64, "heads": 4, "head_dim": 32, "kv_heads": 2, "full_head_dim": 64}
    return make_config(layers="SF", window=1024, vocab=256, context=4096, **sizes)


def steps_line(what: str, samples: Mapping[int, Samples]) -> str:
    """Seconds of each step, and which is fastest."""
    seconds = {step: min(sample.seconds) for step, sample in samples.items()}
    first, fastest = STEPS[0], min(seconds, key=lambda step: seconds[step])
    times = ", ".join(f"{step:,}: {time:.3g} s" for step, time in seconds.items())
    gain = seconds[first] / seconds[fastest]
    if gain < WORTH:
        return f"prefill step: {times} ({what}): 512 is as fast as any"
    more = (samples[fastest].peak_memory - samples[first].peak_memory) / 1e9
    return (
        f"prefill step: {times} ({what}): **{fastest:,} is fastest**, {gain:.2f} x 512, with {more:.2f} GB more: "
        f"--prefill-step-size {fastest}"
    )
