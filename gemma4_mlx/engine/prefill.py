"""Reading the prompt: in chunks that never split a vision block or an audio clip, into the caches."""

from collections.abc import Callable, Sequence

import mlx.core as mx

from gemma4_mlx.model.cache import Cache, cache_arrays
from gemma4_mlx.model.unified import Gemma4Unified
from gemma4_mlx.prompt.prompt import Prompt


def chunk_edges(start: int, stop: int, chunk: int, runs: Sequence[tuple[int, int]]) -> list[int]:
    """Positions that cut `[start, stop)` into pieces of about `chunk`, none inside a run.

    An edge that falls into a run moves back to the run's start, or, where the piece began there, forward to its end.
    Returns every piece's end; the last is `stop`.
    """
    edges = []
    while start < stop:
        edge = min(start + chunk, stop)
        for first, last in runs:
            if first < edge < last:
                edge = first if first > start else last
                break
        edges.append(edge)
        start = edge
    return edges


def prefill(
    model: Gemma4Unified,
    prompt: Prompt,
    caches: Sequence[Cache],
    chunk: int,
    progress: Callable[[int, int], None] | None = None,
) -> mx.array:
    """Reads what the caches do not hold yet; returns lazy logits `(1, vocab)` of the last position."""
    return model.logits(read_hidden(model, prompt, caches, chunk, progress))[:, 0]


def read_hidden(
    model: Gemma4Unified,
    prompt: Prompt,
    caches: Sequence[Cache],
    chunk: int,
    progress: Callable[[int, int], None] | None = None,
) -> mx.array:
    """Reads what the caches do not hold yet; returns the lazy hidden state `(1, 1, hidden)` of the last position.

    Before the last chunk the final layer only writes its cache; in the last one it answers for one position.
    `progress(done, total)` is called after each chunk but the last, which is still lazy.
    """
    start, total = caches[0].offset, len(prompt.ids)
    if start >= total:
        raise ValueError(f"the caches hold {start} positions, the prompt has {total}: nothing is left to read")
    blocks = prompt.vision_blocks()
    for edge in chunk_edges(start, total, chunk, prompt.whole_runs()):
        spans = [span for span in prompt.spans if start <= span.start < edge]
        hidden = model(model.embed(prompt.ids[start:edge], spans, start), caches, blocks, outputs=int(edge == total))
        start = edge
        if edge < total:
            mx.eval(cache_arrays(caches))
            mx.clear_cache()
            if progress is not None:
                progress(edge, total)
    return hidden
