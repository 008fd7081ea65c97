"""What guessing ahead brings: tokens a pass and time, on text that repeats, on text that never does, on real answers.

python -m benchmarks.speculative [--model FOLDER] [--draft-model FOLDER] [--tokens N] [--repeats N]
python -m benchmarks.speculative --tasks [NAME ...] [--draft-model nano] [--drafts N ...] [--samples N]

"repeats" asks the model to go on with a prompt whose ending has occurred before, and lets the oracle of a fixed text
stand for the reply, so that the passes are those of a copied document. "never repeats" is a reply of tokens that do not
occur twice in the same order, and "misleads" one in which the same three tokens occur over and over and are followed by
something else each time, so that every guess is wrong: there nothing can be gained, and the figure to look at is the
time.

With --tasks the model answers held-out cases of the nano tasks, by default those with longer answers, greedily and with
every number of guesses; answers that are not the same to the token end the run. A pass is one run of the model, the
last one of a reply with its closing token included.
"""

import argparse
import random
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from statistics import median

import mlx.core as mx

from benchmarks.generated import LONGEST_ANSWER, as_messages
from benchmarks.running import run_benchmark
from gemma4_mlx.api import load, load_drafter
from gemma4_mlx.engine.drafts import MATCHED, DraftModel, DraftSource, PromptLookup
from gemma4_mlx.engine.options import GenerationOptions
from gemma4_mlx.engine.pacer import Pacer
from gemma4_mlx.engine.prefill import read_hidden
from gemma4_mlx.engine.sampling import Sampler
from gemma4_mlx.engine.speculative import decode_with_drafts
from gemma4_mlx.model.drafter import Drafter
from gemma4_mlx.model.unified import Gemma4Unified
from gemma4_mlx.prompt.processor import Processor
from gemma4_mlx.prompt.prompt import Prompt
from train_nano.data import mixture
from train_nano.data.sample import Sample

LONG_TASKS = ("see", "talk", "copy", "sum", "recall", "fact", "tool call", "tool answer", "json")
"""Tasks whose replies have 8 to 28 tokens in the mean; those of the others have 2 to 7."""


class Script(Sampler):
    """Says a fixed text, after computing the logits as any sampler must."""

    def __init__(self, text: Sequence[int]) -> None:
        super().__init__(GenerationOptions(), 1)
        self._text, self._said = mx.array(list(text)), 0

    def __call__(self, logits: mx.array) -> mx.array:
        token = mx.depends([self._text[self._said : self._said + 1]], [logits])[0]
        self._said += 1
        return token

    @property
    def state(self) -> int:
        """How much was said."""
        return self._said

    @state.setter
    def state(self, state: int) -> None:
        self._said = state


def texts(vocabulary: int, tokens: int) -> dict[str, tuple[list[int], list[int]]]:
    """Prompt and reply by kind."""
    rng = random.Random(1)
    low, high = min(300, vocabulary // 2), vocabulary
    document = [rng.randrange(low, high) for _ in range(tokens + 1)]
    fresh = [rng.randrange(low, high) for _ in range(tokens)]
    edited = [token if i % 20 else rng.randrange(low, high) for i, token in enumerate(document)]
    return {
        "repeats": (document + document[:3], document[3 : tokens + 3]),
        "repeats with an edit in 20": (document + document[:3], edited[3 : tokens + 3]),
        "never repeats": (document, fresh),
        "misleads": (document, misleading(rng, range(low, low + 4), tokens)),
    }


def misleading(rng: random.Random, alphabet: Sequence[int], tokens: int) -> list[int]:
    """Text in which nothing follows three tokens that followed them the last time."""
    text = list(alphabet[:MATCHED])
    last: dict[tuple[int, ...], int] = {}
    while len(text) < tokens:
        before = tuple(text[-MATCHED:])
        last[before] = rng.choice([token for token in alphabet if token != last.get(before)])
        text.append(last[before])
    return text


def say(
    model: Gemma4Unified,
    prompt: Prompt,
    sampler: Sampler,
    count: int,
    stop_ids: Collection[int] = (),
    drafter: Drafter | None = None,
    pacer: Pacer | None = None,
) -> tuple[list[int], float]:
    """A reply of at most `count` tokens and the time from the prompt's end on, with drafts unless there is no pacer."""
    caches = model.make_caches(len(prompt.ids) + count + 1)
    hidden = read_hidden(model, prompt, caches, 512)
    mx.eval(hidden)
    start = time.perf_counter()
    source: DraftSource = DraftModel(drafter, model, caches) if drafter else PromptLookup(prompt.ids)
    pacer = pacer or Pacer(fixed=0)
    said = list(decode_with_drafts(model, caches, hidden, sampler, count, stop_ids, source, pacer))
    return said, time.perf_counter() - start


def seconds(
    model: Gemma4Unified, prompt: list[int], reply: list[int], drafter: Drafter | None, pacer: Pacer | None
) -> float:
    """Time of saying a fixed reply."""
    said, elapsed = say(model, Prompt(prompt), Script([*reply, 0]), len(reply), (), drafter, pacer)
    if said != reply:
        raise SystemExit("the reply changed")
    return elapsed


def measure_texts(args: argparse.Namespace) -> None:
    """Prints a row for each kind of text."""
    model, _ = load(args.model)
    drafter = load_drafter(args.draft_model).prepare(model) if args.draft_model else None
    print("| text | tokens a pass | guesses accepted | time, of that without guessing |\n|---|---|---|---|")
    for kind, (prompt, reply) in texts(model.config.text.vocab_size, args.tokens).items():
        ratios, pacer = [], Pacer()
        for _ in range(args.repeats):
            plain = seconds(model, prompt, reply, drafter, None)
            pacer = Pacer()
            ratios.append(seconds(model, prompt, reply, drafter, pacer) / plain)
        passes = pacer.tokens / pacer.passes if pacer.passes else 1
        accepted = f"{pacer.accepted / pacer.drafted:.0%}" if pacer.drafted else "no guesses"
        print(f"| {kind} | {passes:.2f} | {accepted} | {median(ratios):.2f} |")


@dataclass(slots=True)
class Replies:
    """Sums over replies: tokens, runs of the model behind the prompt, time."""

    tokens: int = 0
    passes: int = 0
    seconds: float = 0.0

    def add(self, tokens: int, passes: int, seconds: float) -> None:
        """Counts more replies."""
        self.tokens, self.passes, self.seconds = self.tokens + tokens, self.passes + passes, self.seconds + seconds


def answer(
    model: Gemma4Unified, processor: Processor, sample: Sample, drafter: Drafter | None, drafts: int, sums: Replies
) -> list[int]:
    """The reply to a case with that many tokens guessed at once, or without guessing for 0."""
    prompt = processor.prompt(as_messages(sample), tools=sample.tools, enable_thinking=sample.thought is not None)
    options = GenerationOptions.from_config(processor.generation_config, temperature=0)
    sampler = Sampler(options, model.config.text.vocab_size, prompt.ids)
    pacer = Pacer(fixed=drafts) if drafts else None
    said, elapsed = say(model, prompt, sampler, LONGEST_ANSWER, options.eos_ids, drafter, pacer)
    sums.add(len(said), len(said) - (pacer.accepted if pacer else 0), elapsed)
    return said


def measure_tasks(args: argparse.Namespace) -> None:
    """Prints a row for each task: tokens a pass and, of the time without guessing, the time with."""
    model, processor = load(args.model)
    drafter = load_drafter(args.draft_model).prepare(model) if args.draft_model else None
    heads = " | ".join(f"{count} guesses | time" for count in args.drafts)
    print(f"| task | tokens a reply | {heads} |\n|---|---|{'---|---|' * len(args.drafts)}")
    totals = {count: Replies() for count in (0, *args.drafts)}
    for task in args.tasks or LONG_TASKS:
        sums = {count: Replies() for count in totals}
        for number in range(args.samples):
            case = mixture.case(task, number, held_out=True)
            if len({tuple(answer(model, processor, case, drafter, count, own)) for count, own in sums.items()}) > 1:
                raise SystemExit(f"{task}: the reply to case {number} changed")
        for count, own in sums.items():
            totals[count].add(own.tokens, own.passes, own.seconds)
        print_row(task, sums, args.samples)
    print_row("all", totals, args.samples * len(args.tasks or LONG_TASKS))


def print_row(name: str, sums: dict[int, Replies], samples: int) -> None:
    """One row of the table."""
    plain = sums[0]
    cells = [f"{own.tokens / own.passes:.2f} | {own.seconds / plain.seconds:.2f}" for n, own in sums.items() if n]
    print(f"| {name} | {plain.tokens / samples:.1f} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Prints a row for each kind of text, or for each task."""
    parser = argparse.ArgumentParser(description="Measure guessing ahead.")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--draft-model", help="a drafter instead of looking the text up")
    parser.add_argument("--tokens", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--tasks", nargs="*", help="answer cases of these nano tasks instead (of none: the long ones)")
    parser.add_argument("--drafts", type=int, nargs="+", default=[2, 4, 8], help="tokens guessed at once in the tasks")
    parser.add_argument("--samples", type=int, default=20, help="cases of each task")
    args = parser.parse_args()
    if args.tasks is None:
        measure_texts(args)
    else:
        measure_tasks(args)


if __name__ == "__main__":
    run_benchmark(main, "2 minutes")
