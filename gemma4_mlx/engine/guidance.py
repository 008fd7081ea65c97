"""What guides one reply: a grammar for the answer, the tools' schemas for calls, and a budget for the thought."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from gemma4_mlx.engine.call_constraint import CallConstraint, CallMatcher, build_call_matcher, call_marks
from gemma4_mlx.engine.constraint import Constraint
from gemma4_mlx.engine.guide import Guide, Guides
from gemma4_mlx.engine.options import GenerationOptions
from gemma4_mlx.engine.thinking_budget import ThinkingBudget
from gemma4_mlx.engine.vocabulary import Vocabulary, vocabulary
from gemma4_mlx.errors import GemmaError
from gemma4_mlx.prompt.reply import RESPONSE_START
from gemma4_mlx.prompt.tokenizer import Tokenizer
from gemma4_mlx.prompt.tools import Tool


@dataclass(frozen=True, slots=True)
class AnswerGrammar:
    """A grammar as `compile_schema` makes it, and whether tools may be called in place of an answer."""

    grammar: str
    may_call: bool = False


class Guidance:
    """Builds what grammars need of the vocabulary, seconds of work the first time, while the prompt is read.

    An answer's grammar is waited for before the first token, that of calls only when a call begins.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        vocab_size: int,
        options: GenerationOptions,
        answer: AnswerGrammar | None,
        tools: Sequence[Tool] = (),
    ) -> None:
        """`vocab_size` is the width of the logits; `tools` are those that may be called."""
        self._tokenizer, self._vocab_size, self._options = tokenizer, vocab_size, options
        self._answer, self._tools = answer, tools
        self._marks = call_marks(tokenizer) if tools and options.constrain_calls else None
        self._ends = tuple(sorted(set(options.eos_ids) - {tokenizer.control_ids.get(RESPONSE_START)}))
        self._pool = ThreadPoolExecutor(1)
        self._words: Future[Vocabulary] | None = None
        self._calls: Future[CallMatcher] | None = None
        self._constraint: Constraint | None = None

    def __enter__(self) -> "Guidance":
        if self._answer is not None or self._marks is not None:
            self._words = self._pool.submit(vocabulary, self._tokenizer, self._vocab_size, self._ends)
        if self._marks is not None:
            self._calls = self._pool.submit(self._build_calls)
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=False)  # calls may begin much later, or never

    def guide(self, prompt_ids: Sequence[int]) -> Guide | None:
        """What guides the reply to this prompt; None if nothing does."""
        guides: list[Guide] = []
        if self._answer is not None and self._words is not None:
            grammar, may_call = self._answer.grammar, self._answer.may_call
            self._constraint = Constraint(grammar, self._words.result(), prompt_ids, may_call=may_call)
            guides.append(self._constraint)
        if self._marks is not None and self._calls is not None:
            eos_ids = self._options.eos_ids
            guides.append(CallConstraint(self._marks, self._tokenizer, self._vocab_size, eos_ids, self._calls))
        if self._options.thinking_budget is not None:
            budget = self._options.thinking_budget
            guides.append(ThinkingBudget(budget, self._tokenizer, self._vocab_size, prompt_ids))
        return Guides(guides) if guides else None

    def check_end(self) -> None:
        """Raises GemmaError where the reply ended before its answer was complete."""
        if self._constraint is not None and not self._constraint.finished:
            raise GemmaError(
                "the reply ended before its JSON was complete: max_tokens or the context allows no more; raise it",
                arguments=["max_tokens"],
            )

    def _build_calls(self) -> CallMatcher:
        assert self._words is not None
        assert self._marks is not None
        return build_call_matcher(self._tools, self._marks, self._words.result())
