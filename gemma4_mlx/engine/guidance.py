"""What guides one reply: a grammar that the answer is to be a text of, and a budget for the thought before it."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from gemma4_mlx.engine.constraint import Constraint
from gemma4_mlx.engine.guide import Guide, Guides
from gemma4_mlx.engine.options import GenerationOptions
from gemma4_mlx.engine.thinking_budget import ThinkingBudget
from gemma4_mlx.engine.vocabulary import Vocabulary, vocabulary
from gemma4_mlx.errors import GemmaError
from gemma4_mlx.prompt.reply import RESPONSE_START
from gemma4_mlx.prompt.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class AnswerGrammar:
    """A grammar as `compile_schema` makes it, and whether tools may be called in place of an answer."""

    grammar: str
    may_call: bool = False


class Guidance:
    """Builds what a grammar needs of the vocabulary, seconds of work the first time, while the prompt is read."""

    def __init__(
        self, tokenizer: Tokenizer, vocab_size: int, options: GenerationOptions, answer: AnswerGrammar | None
    ) -> None:
        """`vocab_size` is the width of the logits."""
        self._tokenizer, self._vocab_size, self._answer = tokenizer, vocab_size, answer
        self._budget = options.thinking_budget
        self._ends = tuple(sorted(set(options.eos_ids) - {tokenizer.control_ids.get(RESPONSE_START)}))
        self._pool = ThreadPoolExecutor(1)
        self._words: Future[Vocabulary] | None = None
        self._constraint: Constraint | None = None

    def __enter__(self) -> "Guidance":
        if self._answer is not None:
            self._words = self._pool.submit(vocabulary, self._tokenizer, self._vocab_size, self._ends)
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def guide(self, prompt_ids: Sequence[int]) -> Guide | None:
        """What guides the reply to this prompt; None where nothing does."""
        guides: list[Guide] = []
        if self._answer is not None and self._words is not None:
            grammar, may_call = self._answer.grammar, self._answer.may_call
            self._constraint = Constraint(grammar, self._words.result(), prompt_ids, may_call=may_call)
            guides.append(self._constraint)
        if self._budget is not None:
            guides.append(ThinkingBudget(self._budget, self._tokenizer, self._vocab_size, prompt_ids))
        return Guides(guides) if guides else None

    def check_end(self) -> None:
        """Raises GemmaError where the reply ended before its answer was complete."""
        if self._constraint is not None and not self._constraint.finished:
            raise GemmaError(
                "the reply ended before its JSON was complete: --max-tokens or the context allows no more; raise it"
            )
