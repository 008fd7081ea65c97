"""The real model and engine behind the plain functions that reference fixtures are compared through."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np

from gemma4_mlx.checkpoint.load import load_model as load_checkpoint
from gemma4_mlx.checkpoint.load import open_drafter
from gemma4_mlx.engine.prefill import prefill as engine_prefill
from gemma4_mlx.engine.prefill import read_hidden
from gemma4_mlx.measure.speed import unguessed
from gemma4_mlx.media.images import Patches
from gemma4_mlx.model.drafter import Drafter
from gemma4_mlx.model.unified import Gemma4Unified
from gemma4_mlx.prompt.processor import Processor
from gemma4_mlx.prompt.prompt import MediaKind, Prompt, Span

Inputs = Mapping[str, np.ndarray]


def load_model(path: str) -> Gemma4Unified:
    return load_checkpoint(Path(path))


def forward(model: Gemma4Unified, inputs: Inputs) -> np.ndarray:
    prompt = read_prompt(model, inputs)
    embeddings = model.embed(prompt.ids, prompt.spans)
    return np.array(model.logits(model(embeddings, None, prompt.vision_blocks()))[0])


def prefill(model: Gemma4Unified, inputs: Inputs, chunk: int) -> np.ndarray:
    prompt = read_prompt(model, inputs)
    return np.array(engine_prefill(model, prompt, model.make_caches(len(prompt.ids)), chunk)[0])


def prefill_turns(model: Gemma4Unified, inputs: Inputs, cut: int) -> np.ndarray:
    prompt = read_prompt(model, inputs)
    caches = model.make_caches(len(prompt.ids))
    first = Prompt(prompt.ids[:cut], [span for span in prompt.spans if span.stop <= cut])
    mx.eval(engine_prefill(model, first, caches, chunk=512))
    return np.array(engine_prefill(model, prompt, caches, chunk=512)[0])


def generate(model: Gemma4Unified, inputs: Inputs, n: int, chunk: int) -> list[int]:
    prompt = read_prompt(model, inputs)
    caches = model.make_caches(len(prompt.ids) + n)
    return list(unguessed(model, caches, read_hidden(model, prompt, caches, chunk), n))


def load_drafter(path: str) -> Drafter:
    return open_drafter(Path(path))


def draft(model: Gemma4Unified, drafter: Drafter, inputs: Inputs, next_token: int, n: int) -> np.ndarray:
    """Logits (n, vocab) of n guesses."""
    prompt = read_prompt(model, inputs)
    drafter.prepare(model)
    caches = model.make_caches(len(prompt.ids))
    hidden = read_hidden(model, prompt, caches, chunk=16)
    logits, token, rotations = [], mx.array([next_token]), drafter.rotations(caches)
    for _ in range(n):
        step, hidden = drafter(model.language_model.model.embed(token[None]), hidden, caches, rotations)
        logits.append(step[0, 0])
        token = mx.argmax(step[:, 0], axis=-1)
    return np.array(mx.stack(logits))


def read_prompt(model: Gemma4Unified, inputs: Inputs) -> Prompt:
    """Spans from placeholders in the ids and padded media tensors in a reference processor's layout."""
    ids = inputs["input_ids"][0].tolist()
    tokens = model.config.tokens
    waiting: dict[int, tuple[MediaKind, Iterator[Any]]] = {
        tokens.image: ("image", _patches(inputs, "pixel_values", "image_position_ids")),
        tokens.video: ("video", _patches(inputs, "pixel_values_videos", "video_position_ids")),
        tokens.audio: ("audio", _frames(inputs)),
    }
    spans: list[Span] = []
    for position, token in enumerate(ids):
        if token in waiting and (not spans or position >= spans[-1].stop):
            kind, features = waiting[token]
            spans.append(Span(kind, position, next(features)))
    return Prompt(ids, spans)


def _patches(inputs: Inputs, pixels: str, positions: str) -> Iterator[Patches]:
    if pixels in inputs:
        for rows, places in zip(inputs[pixels], inputs[positions], strict=True):
            valid = places[:, 0] >= 0
            yield Patches(rows[valid], places[valid])


def _frames(inputs: Inputs) -> Iterator[np.ndarray]:
    if "input_features" in inputs:
        for rows, valid in zip(inputs["input_features"], inputs["input_features_mask"], strict=True):
            yield rows[valid]


def patches(path: str, budget: int) -> tuple[np.ndarray, np.ndarray]:
    from gemma4_mlx.media.images import load_image

    read = load_image(path, budget)
    return read.pixels / np.float32(255), read.positions


def encode(
    checkpoint_dir: str,
    messages: Sequence[Mapping[str, Any]],
    images: Sequence[str],
    audio: Sequence[str],
    tools: Sequence[Mapping[str, Any]] | None,
    enable_thinking: bool,
    videos: Sequence[str] = (),
) -> list[int]:
    sources = {"image": iter(images), "audio": iter(audio), "video": iter(videos)}
    placed = [{**message, "content": _with_sources(message.get("content"), sources)} for message in messages]
    return list(load_processor(checkpoint_dir).prompt(placed, tools=tools, enable_thinking=enable_thinking).ids)


@cache
def load_processor(checkpoint_dir: str) -> Processor:
    """Kept, as a vocabulary of 262,144 entries takes seconds to read."""
    return Processor.from_folder(Path(checkpoint_dir))


def _with_sources(content: Any, sources: Mapping[str, Iterator[str]]) -> Any:
    if not isinstance(content, list):
        return content
    return [
        {**part, part["type"]: next(sources[part["type"]])} if part["type"] in sources else part for part in content
    ]
