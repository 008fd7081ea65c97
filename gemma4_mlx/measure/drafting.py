"""A reply that says again what its prompt says, with guesses ahead: what drafting brings where it pays off."""

import mlx.core as mx

from gemma4_mlx.api import stream_generate
from gemma4_mlx.measure.report import Row
from gemma4_mlx.measure.run import Progress, Subject, counted
from gemma4_mlx.measure.speed import Setup
from gemma4_mlx.model.drafter import Drafter

TEXT = (
    "The harbour opens at seven. Boats from the north berth on the left, all others on the right. "
    "Fuel is sold until noon, water and ice at any time. "
)
QUESTION = f"Write this text again, word for word: {TEXT * 4}"


def drafting_rows(
    subject: Subject, tokens: int, setup: Setup, repeats: int, drafter: Drafter | None, progress: Progress
) -> list[Row]:
    """Tokens a second and tokens a pass of replies of so many tokens, after one to warm up.

    Guesses come from the drafter, where there is one, else from the text so far.
    """
    name = f"guesses by {'a drafter' if drafter else 'looking text up'}, tg{tokens}"
    mx.clear_cache()
    mx.reset_peak_memory()
    speeds, gains, peak, notice = [], [], 0, counted("drafting", progress)
    for done in range(repeats + 1):
        notice(done, repeats)
        pieces = stream_generate(
            subject.model,
            subject.processor,
            QUESTION,
            drafter=drafter,
            temperature=0,
            max_tokens=tokens,
            eos_ids=(),
            kv_bits=setup.kv_bits or "none",
            prefill_step_size=setup.chunk,
        )
        last = list(pieces)[-1]
        speeds.append(last.generation_tps)
        gains.append(last.tokens_per_pass)
        peak = last.peak_memory
    return [
        Row(name, "tokens/s", speeds[1:], peak, tokens),
        Row(f"{name}, a pass", "tokens", gains[1:], peak, tokens),
    ]
