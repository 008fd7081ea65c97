"""What guessing ahead brings: tokens a pass and time, on text that repeats and on text that never does.

python -m benchmarks.speculative [--model FOLDER] [--draft-model FOLDER] [--tokens N] [--repeats N]

"repeats" asks the model to go on with a prompt whose ending has occurred before, and lets the oracle of a fixed text
stand for the reply, so that the passes are those of a copied document. "never repeats" is a reply of tokens that do not
occur twice in the same order: there nothing can be gained, and the figure to look at is the time.
"""

import argparse
import random
import time
from collections.abc import Sequence
from statistics import median

import mlx.core as mx

from gemma4_mlx.api import load, load_drafter
from gemma4_mlx.engine.decode import decode
from gemma4_mlx.engine.drafts import DraftModel, DraftSource, PromptLookup
from gemma4_mlx.engine.options import GenerationOptions
from gemma4_mlx.engine.pacer import Pacer
from gemma4_mlx.engine.prefill import read_hidden
from gemma4_mlx.engine.sampling import Sampler
from gemma4_mlx.engine.speculative import decode_with_drafts
from gemma4_mlx.model.drafter import Drafter
from gemma4_mlx.model.unified import Gemma4Unified
from gemma4_mlx.prompt.prompt import Prompt


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
    }


def seconds(
    model: Gemma4Unified, prompt: list[int], reply: list[int], drafter: Drafter | None, pacer: Pacer | None
) -> float:
    """Time of saying the reply, with drafts unless there is no pacer."""
    caches = model.make_caches(len(prompt) + len(reply) + 1)
    hidden = read_hidden(model, Prompt(prompt), caches, 512)
    mx.eval(hidden)
    sampler, count = Script([*reply, 0]), len(reply)
    start = time.perf_counter()
    if pacer is None:
        said = list(decode(model, caches, model.logits(hidden)[:, 0], sampler, count))
    else:
        source: DraftSource = DraftModel(drafter, model, caches) if drafter else PromptLookup(prompt)
        said = list(decode_with_drafts(model, caches, hidden, sampler, count, (), source, pacer))
    elapsed = time.perf_counter() - start
    if said != reply:
        raise SystemExit("the reply changed")
    return elapsed


def main() -> None:
    """Prints a row for each kind of text."""
    parser = argparse.ArgumentParser(description="Measure guessing ahead.")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--draft-model", help="a drafter instead of looking the text up")
    parser.add_argument("--tokens", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
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


if __name__ == "__main__":
    main()
