"""What keeping an answer to a JSON schema, or a call to a tool, costs a token: a model of nano's size, free and kept.

python -m benchmarks.structured [--tokenizer FOLDER] [--model FOLDER] [--repeats N]

Both say the same, alternating in one run, with a head of 262,144 tokens. Without --tokenizer the small one fills a part
of the vocabulary only, which makes masks of the same size but finding them easier. --model measures a checkpoint as it
is.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from statistics import median

import mlx.core as mx

from benchmarks.random_checkpoint import write_checkpoint
from benchmarks.running import run_benchmark
from benchmarks.shapes import make_config, override, with_token_ids
from benchmarks.small_tokenizer import train_tokenizer
from gemma4_mlx.api import load
from gemma4_mlx.engine.call_constraint import CallConstraint, CallMatcher, build_call_matcher, call_marks
from gemma4_mlx.engine.constraint import Constraint
from gemma4_mlx.engine.guide import Guide, keep_only
from gemma4_mlx.engine.options import GenerationOptions
from gemma4_mlx.engine.sampling import Sampler
from gemma4_mlx.engine.schema import compile_schema
from gemma4_mlx.engine.vocabulary import Vocabulary
from gemma4_mlx.measure.paths import step
from gemma4_mlx.model.unified import Gemma4Unified
from gemma4_mlx.prompt.tokenizer import Tokenizer
from gemma4_mlx.prompt.tools import Tool

PERSON = {
    "name": {"type": "string"},
    "age": {"type": "integer"},
    "tags": {"type": "array", "items": {"type": "string"}},
}
SCHEMA = {"type": "array", "items": {"type": "object", "properties": PERSON, "required": list(PERSON)}}
ANSWER = [
    {"name": "Anna Lindqvist of the harbour office", "age": 31 + number, "tags": ["early", "speaks three languages"]}
    for number in range(3)
]


def checkpoint(folder: Path, tokenizer: str | None) -> Path:
    """Random weights in nano's shape, with the head of the full vocabulary."""
    config = make_config(hidden=256, mlp=512, heads=6, head_dim=32, kv_heads=2, global_head_dim=64, window=256)
    config = override(with_token_ids(config, train_tokenizer()), vocab_size=262144)
    return write_checkpoint(folder, config, tokenizer=tokenizer)


def say(model: Gemma4Unified, sampler: Sampler, ids: Sequence[int], guide: Guide | None) -> float:
    """Seconds a token, in the order of `decode_with_drafts`: a step is on its way before the last token is read."""
    caches, token = model.make_caches(len(ids)), mx.array([ids[0]])
    mx.eval(token)
    start = time.perf_counter()
    for id in ids[1:]:
        logits = step(model, caches, token)
        if guide is not None:
            mx.async_eval(logits)
            (value,) = token.tolist()
            logits = keep_only(logits, guide.ahead([value])[0])
            guide.accept(value)
        following = mx.depends([mx.array([id])], [sampler(logits)])[0]
        mx.async_eval(following)
        token.tolist()
        token = following
    mx.eval(token)
    return (time.perf_counter() - start) / (len(ids) - 1)


def looks(guide: Guide, ids: Sequence[int]) -> list[float]:
    """Seconds to find each token's mask, without a model."""
    times = []
    for id in ids:
        start = time.perf_counter()
        guide.ahead([id])
        guide.accept(id)
        times.append(time.perf_counter() - start)
    return times


def call_ids(tokenizer: Tokenizer) -> list[int]:
    """A call whose arguments are the first person of the answer."""
    marked = '<|tool_call>call:add_person{age:31,name:<|"|>Anna Lindqvist of the harbour office<|"|>,'
    marked += 'tags:[<|"|>early<|"|>,<|"|>speaks three languages<|"|>]}<tool_call|>'
    pieces = tokenizer.pieces(marked)
    return [id for mark, text in pieces for id in ([mark] if mark is not None else tokenizer.encode(text))]


def call_guide(words: Vocabulary) -> CallConstraint:
    """What keeps calls to a tool whose arguments are a person."""
    tool = Tool(name="add_person", description="", parameters=SCHEMA["items"])
    marks, built = call_marks(words.tokenizer), Future[CallMatcher]()
    built.set_result(build_call_matcher([tool], marks, words))
    return CallConstraint(marks, words.tokenizer, words.size, words.end_ids, built)


def compare(
    model: Gemma4Unified, sampler: Sampler, make_guide: Callable[[], Guide], ids: Sequence[int], repeats: int
) -> tuple[list[float], list[float]]:
    """Seconds a token, free and kept, in turns; the first turn warms up."""
    free, kept = [], []
    for _ in range(repeats + 1):
        free.append(say(model, sampler, ids, None))
        kept.append(say(model, sampler, ids, make_guide()))
    return free[1:], kept[1:]


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description="Measure what keeping to a JSON schema costs.")
    parser.add_argument("--tokenizer", help="a folder with the tokenizer.json to use")
    parser.add_argument("--model", help="a checkpoint, in place of a random one of nano's size")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        model, processor = load(args.model or checkpoint(Path(temporary), args.tokenizer))
    size, ends = model.config.text.vocab_size, (processor.tokenizer.id("<turn|>"),)
    start = time.perf_counter()
    words = Vocabulary(processor.tokenizer, size, ends)
    built = time.perf_counter() - start
    grammar = compile_schema(SCHEMA)
    said = {
        "an answer": (lambda: Constraint(grammar, words, ()), processor.tokenizer.encode(json.dumps(ANSWER))),
        "a call": (lambda: call_guide(words), call_ids(processor.tokenizer)),
        "text, with tools": (lambda: call_guide(words), processor.tokenizer.encode(json.dumps(ANSWER))),
    }
    known = len(processor.tokenizer.token_bytes())
    print(
        f"{size:,} tokens in the head, {known:,} of them the tokenizer's; the vocabulary takes {built:.1f} s, once.\n"
    )
    print("| kept | tokens | temperature | a mask, ms | slowest | free, ms a token | kept | ratio |")
    print("|---|---|---|---|---|---|---|---|")
    for kind, (make_guide, ids) in said.items():
        masks = sorted(1e3 * second for second in looks(make_guide(), ids))
        for temperature in (0.0, 1.0):
            options = GenerationOptions(temperature=temperature, top_k=64, top_p=0.95, seed=0)
            free, kept = compare(model, Sampler(options, size), make_guide, ids, args.repeats)
            ratio = median(b / a for a, b in zip(free, kept, strict=True))
            times = f"{1e3 * median(free):.2f} | {1e3 * median(kept):.2f} | {ratio:.3f}"
            print(
                f"| {kind} | {len(ids)} | {temperature} | {median(masks):.3f} | {masks[-1]:.1f} | {times} |", flush=True
            )


if __name__ == "__main__":
    run_benchmark(main, "3 minutes")
