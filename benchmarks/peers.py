"""One engine in a process of its own: loads a checkpoint, then answers requests for a prompt of random tokens and a
greedy reply.

python benchmarks/peers.py ENGINE FOLDER [--kv-bits N]

A line of JSON comes back for each line of JSON that comes in: {"prompt": N, "reply": N} -> seconds, bytes. The first
line out is about loading. Bits are those of this package's caches; neither peer can quantize this model's sliding ones.
Nothing of the project is imported but by its own engine: any interpreter can run this.
"""

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

CHUNK = 512
"""Tokens of prompt read at once, in every engine."""

Engine = Callable[[list[int], int], tuple[Iterator[Any], Any]]
"""Takes a prompt and the reply's length; returns the reply's tokens, with the prompt still unread, and a function that
gives the arrays of the caches."""


def ours(folder: Path, kv_bits: int | None) -> tuple[Engine, int]:
    """This package."""
    import mlx.core as mx

    from gemma4_mlx.checkpoint.load import load_model
    from gemma4_mlx.engine.decode import decode
    from gemma4_mlx.engine.prefill import prefill
    from gemma4_mlx.prompt.prompt import Prompt

    model = load_model(folder)

    def reply(ids: list[int], count: int) -> tuple[Iterator[Any], Any]:
        caches = model.make_caches(len(ids) + count, kv_bits)

        def tokens() -> Iterator[int]:
            logits = prefill(model, Prompt(ids), caches, CHUNK)
            yield from decode(model, caches, logits, lambda row: mx.argmax(row, axis=-1), count)

        return tokens(), lambda: [array for cache in caches for array in cache.arrays()]

    return reply, model.config.text.vocab_size


def mlx_lm(folder: Path, kv_bits: int | None) -> tuple[Engine, int]:
    """mlx-lm, which reads the text part only."""
    import mlx.core as mx
    from mlx_lm.generate import generate_step
    from mlx_lm.models.cache import make_prompt_cache
    from mlx_lm.utils import load_model

    del kv_bits
    vocabulary = vocabulary_of(folder)
    model, _ = load_model(folder, model_config={"vocab_size": vocabulary})  # it looks for it at the top level

    def reply(ids: list[int], count: int) -> tuple[Iterator[Any], Any]:
        caches = make_prompt_cache(model)
        steps = generate_step(mx.array(ids), model, max_tokens=count, prompt_cache=caches, prefill_step_size=CHUNK)
        return steps, lambda: states(caches)

    return reply, vocabulary


def mlx_vlm(folder: Path, kv_bits: int | None) -> tuple[Engine, int]:
    """mlx-vlm, given text only."""
    import mlx.core as mx
    from mlx_vlm.generate import generate_step
    from mlx_vlm.models.cache import make_prompt_cache
    from mlx_vlm.utils import load_model

    del kv_bits
    model = load_model(folder)

    def reply(ids: list[int], count: int) -> tuple[Iterator[Any], Any]:
        caches = make_prompt_cache(model.language_model)
        steps = generate_step(
            mx.array([ids]),
            model,
            None,
            None,
            max_tokens=count,
            temperature=0.0,
            prompt_cache=caches,
            prefill_step_size=CHUNK,
        )
        return steps, lambda: states(caches)

    return reply, vocabulary_of(folder)


ENGINES = {"gemma4_mlx": ours, "mlx-lm": mlx_lm, "mlx-vlm": mlx_vlm}


def vocabulary_of(folder: Path) -> int:
    """Token ids in a checkpoint's configuration."""
    size = json.loads((folder / "config.json").read_text())["text_config"]["vocab_size"]
    assert isinstance(size, int)
    return size


def states(caches: Any) -> list[Any]:
    """The buffers of a peer's caches, quantized ones as well, with whatever they allocated ahead."""
    from mlx.utils import tree_flatten

    return [array for cache in caches for _, array in tree_flatten([cache.keys, cache.values])]


def measure(engine: Engine, vocabulary: int, prompt: int, reply: int) -> dict[str, float]:
    """Seconds to the first token and from there to the last, bytes of the caches, and peak memory in bytes."""
    import mlx.core as mx
    import numpy as np

    mx.clear_cache()
    mx.reset_peak_memory()
    ids = np.random.default_rng(0).integers(64, vocabulary, prompt).tolist()
    started = time.perf_counter()
    tokens, buffers = engine(ids, reply + 1)
    next(tokens)
    first = time.perf_counter()
    written = sum(1 for _ in tokens)
    finished = time.perf_counter()
    assert written == reply, f"{written} tokens of {reply}"
    size = sum(array.nbytes for array in buffers())
    return {
        "prefill_s": first - started,
        "decode_s": finished - first,
        "kv_bytes": size,
        "peak_bytes": mx.get_peak_memory(),
    }


def main() -> None:
    """Serves one engine until the input ends."""
    parser = argparse.ArgumentParser(description="Serve one engine.")
    parser.add_argument("engine", choices=ENGINES)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kv-bits", type=int)
    args = parser.parse_args()
    out = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):  # what a peer prints must not get in between
        started = time.perf_counter()
        engine, vocabulary = ENGINES[args.engine](args.folder, args.kv_bits)
        print(json.dumps({"load_s": time.perf_counter() - started}), file=out, flush=True)
        for line in sys.stdin:
            print(json.dumps(measure(engine, vocabulary, **json.loads(line))), file=out, flush=True)


if __name__ == "__main__":
    main()
