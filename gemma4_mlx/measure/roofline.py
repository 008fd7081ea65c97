"""Bounds on speed from bandwidth, GPU operations and what a pass costs. A model of the machine, not a measurement."""

from collections.abc import Sequence

from gemma4_mlx.config import ModelConfig
from gemma4_mlx.engine.memory import budget
from gemma4_mlx.engine.plan import Need
from gemma4_mlx.measure.chips import CHIPS, Chip, Limits
from gemma4_mlx.measure.costs import Pass, bits_with_scales, decoding_pass, plain_weight_bytes, reading_pass
from gemma4_mlx.measure.fill import cache_bytes
from gemma4_mlx.measure.shapes import GROUP, stored_bytes
from gemma4_mlx.measure.speed import Job

WARNING = "A model, not a measurement: bounds that no implementation of this graph can pass."
DRAFTER_WEIGHTS = 423e6
"""Weights of the published drafter of the 12B, all of which one draft step reads."""

NO_ROOM = "-"
ABSENT = "A dash: the chip's largest memory, less what macOS keeps of it, does not hold weights and caches."
CHUNK, BF16 = 512, 2

WEIGHT_BITS, KV_BITS = (4, 8, 16), (None, 8, 4)
DRAFTS, ACCEPTANCES = (1, 2, 4, 8), (0.5, 0.7, 0.8, 0.9)


def job_bound(
    config: ModelConfig, job: Job, weight_bytes: float, limits: Limits, kv_bits: int | None, chunk: int
) -> float:
    """Most tokens a second of a line of the benchmark on the machine at hand."""
    if job.kind == "pp":
        cost = reading_pass(config, job.depth, job.tokens, weight_bytes, kv_bits, chunk)
        return job.tokens / cost.seconds(limits.bandwidth, limits.speed)
    cost = decoding_pass(config, job.depth + (job.tokens + 1) // 2, weight_bytes, kv_bits)
    return 1 / cost.seconds(limits.bandwidth, limits.speed)


def expected_tokens(drafts: int, acceptance: float) -> float:
    """Tokens that a pass over one certain token and some drafts gives, each draft holding with this probability if
    those before it did."""
    return sum(acceptance**held for held in range(drafts + 1))


def draft_gain(config: ModelConfig, chip: Chip, drafts: int, acceptance: float, context: int, bits: int) -> float:
    """How many times faster decoding with a drafter of the same bits can be than without."""
    weights = plain_weight_bytes(config, bits)
    plain = decoding_pass(config, context, weights).seconds(chip.bandwidth, chip.speed)
    checked = decoding_pass(config, context, weights, tokens=drafts + 1)
    # A step of the drafter reads its weights; they are few enough for its attention not to matter beside them.
    guess = Pass(DRAFTER_WEIGHTS * bits_with_scales(bits) / 8, 2 * DRAFTER_WEIGHTS)
    seconds = checked.seconds(chip.bandwidth, chip.speed) + drafts * guess.seconds(chip.bandwidth, chip.speed)
    return expected_tokens(drafts, acceptance) * plain / seconds


def holds(config: ModelConfig, chip: Chip, weights: float, context: int, kv_bits: int | None) -> bool:
    """Whether the largest Mac with the chip has room for weights, caches and what a chunk takes, by the fit check."""
    limit = budget(f"{chip.memory / 1e9:.0f}GB").limit
    need = Need(config=config, weights=int(weights), itemsize=BF16, chunk=CHUNK, kv_group_size=GROUP, limit=limit)
    return need.plan(context, kv_bits).fits


def tables(config: ModelConfig, contexts: Sequence[int]) -> str:
    """All bounds as Markdown."""
    parts = [f"**{WARNING}** {ABSENT}"]
    parts += [decode_table(config, bits, contexts) for bits in WEIGHT_BITS]
    parts += [prefill_table(config, contexts), draft_table(config, contexts)]
    return "\n\n".join(parts)


def decode_table(config: ModelConfig, bits: int, contexts: Sequence[int]) -> str:
    """Tokens a second by chip, context and bits of the caches, and what memory that takes."""
    read, stored = plain_weight_bytes(config, bits), stored_bytes(config, bits)
    cells = [(context, kv_bits) for context in contexts for kv_bits in KV_BITS]
    header = ["decode, tokens/s", *(f"{context:,} KV{kv_bits or 16}" for context, kv_bits in cells)]
    needed = [f"{(stored + cache_bytes(config.text, *cell)) / 1e9:.1f}" for cell in cells]
    costs = [decoding_pass(config, context, read, kv_bits) for context, kv_bits in cells]

    def rate(chip: Chip, cell: tuple[int, int | None], cost: Pass) -> str:
        return f"{1 / cost.seconds(chip.bandwidth, chip.speed):.1f}" if holds(config, chip, stored, *cell) else NO_ROOM

    rows = [[_label(chip), *(rate(chip, *each) for each in zip(cells, costs, strict=True))] for chip in CHIPS]
    return f"Weights of {bits} bits\n\n{markdown(header, [['weights and caches, GB', *needed], *rows])}"


def prefill_table(config: ModelConfig, contexts: Sequence[int]) -> str:
    """Tokens a second of reading 512 tokens behind a context."""
    read, stored = (count(config, WEIGHT_BITS[0]) for count in (plain_weight_bytes, stored_bytes))

    def rate(chip: Chip, context: int) -> str:
        seconds = reading_pass(config, context, CHUNK, read).seconds(chip.bandwidth, chip.speed)
        return f"{CHUNK / seconds:.0f}" if holds(config, chip, stored, context, None) else NO_ROOM

    rows = [
        [
            f"{_label(chip)}, {'' if chip.named else '~'}{chip.speed / 1e12:.1f} Tflop/s",
            *(rate(chip, context) for context in contexts),
        ]
        for chip in CHIPS
    ]
    header = ["prefill, tokens/s", *(f"pp512 @ d{context}" for context in contexts)]
    note = (
        "GPU operations in 32 bits (16-bit ones may be somewhat faster). With ~ Apple has not named them, and the "
        "bound is as rough: a third party's product of cores and clock, for M5 four times that of M4, as Apple says"
    )
    return f"{note}\n\n{markdown(header, rows)}"


def draft_table(config: ModelConfig, contexts: Sequence[int]) -> str:
    """How many times faster a drafter can make decoding, on the first chip that holds both models."""
    context, bits = contexts[0], WEIGHT_BITS[0]
    stored = stored_bytes(config, bits) + DRAFTER_WEIGHTS * bits_with_scales(bits) / 8
    chip = next((chip for chip in CHIPS if holds(config, chip, stored, context, None)), None)
    if chip is None:
        return f"Drafting: no chip holds {context:,} tokens in plain caches"
    header = ["drafts a pass", *(f"{acceptance:.0%} held" for acceptance in ACCEPTANCES)]
    rows = [
        [str(drafts), *(f"{draft_gain(config, chip, drafts, share, context, bits):.2f} x" for share in ACCEPTANCES)]
        for drafts in DRAFTS
    ]
    title = f"Drafting against plain decoding at {context:,} tokens, {bits} bits, {chip.name}"
    return f"{title}\n\n{markdown(header, rows)}"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; the first column is text, the others are figures."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _label(chip: Chip) -> str:
    return f"{chip.name}, {chip.bandwidth / 1e9:g} GB/s, at most {chip.memory / 1e9:.0f} GB"
