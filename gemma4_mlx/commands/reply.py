"""What a streamed reply comes to: its texts, its tool calls, and the figures under it."""

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from gemma4_mlx.characters import escaped, replace_hidden
from gemma4_mlx.commands.common import explained
from gemma4_mlx.errors import GemmaError, note

if TYPE_CHECKING:
    from gemma4_mlx.agent import ToolResult
    from gemma4_mlx.engine.generation import Response
    from gemma4_mlx.engine.options import GenerationOptions
    from gemma4_mlx.prompt.calls import MalformedCall, ToolCall


def call_as_dict(call: "ToolCall") -> dict[str, Any]:
    """A tool call for JSON."""
    return {"name": call.name, "arguments": dict(call.arguments)}


def malformed_as_dict(call: "MalformedCall") -> dict[str, Any]:
    """What was meant as a call and is none, for JSON."""
    return {"name": call.name, "malformed": call.text, "problem": call.problem}


def json_text(value: Any) -> str:
    """JSON in one line, in which hidden characters are escaped: it may go to a terminal."""
    return replace_hidden(json.dumps(value, ensure_ascii=False), escaped)


def with_beginning(text: str, pieces: "Iterable[Response]") -> "Iterator[Response]":
    """A reply whose beginning was given: that is a piece of the answer before those that the model wrote."""
    for number, piece in enumerate(pieces):
        if text and number == 0:
            yield replace(piece, text=text, channel="answer", call=None, malformed=None, finish_reason=None)
        yield piece


@dataclass
class Reply:
    """What was said so far, and the error that ended it, if one did."""

    content: str = ""
    reasoning: str = ""
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    finish_reason: str | None = None
    first_token: float = 0.0
    last: "Response | None" = None
    error: GemmaError | None = None
    answers: bool = False
    """Whether there is text of an answer after the last call."""

    def add(self, response: "Response") -> None:
        """Takes in one piece."""
        if self.last is None:
            self.first_token = time.perf_counter()
        if response.channel == "answer":
            self.content += response.text
            self.answers = self.answers or bool(response.text)
        elif response.channel == "thought":
            self.reasoning += response.text
        if response.call is not None:
            self.tool_calls.append(call_as_dict(response.call))
        if response.malformed is not None:
            self.tool_calls.append(malformed_as_dict(response.malformed))
        self.answers = self.answers and response.call is None and response.malformed is None
        self.finish_reason, self.last = response.finish_reason, response

    def add_result(self, result: "ToolResult") -> None:
        """Takes in what a call came to. Results come in the order of their calls."""
        waiting = next(call for call in self.tool_calls if "result" not in call)
        waiting |= {"result": result.text, "failed": result.failed}

    def check_end(self, options: "GenerationOptions", context: int) -> None:
        """Say that an answer is cut off, and by which limit, of a model with so many positions of context.

        Raises GemmaError if no answer began, as the thought took all tokens.
        """
        if self.finish_reason != "length" or self.last is None:
            return
        limit, cure = self._limit(options, context)
        if self.answers or not (self.reasoning or self.last.channel == "thought"):
            note(f"the answer is cut off: {limit} allows no more; {cure}")
            return
        raise GemmaError(
            f"the thought took all {self.last.generation_tokens} tokens and no answer began: {cure}, "
            "or end the thought earlier with --thinking-budget"
        )

    def _limit(self, options: "GenerationOptions", context: int) -> tuple[str, str]:
        """What ended the reply, and what to do."""
        assert self.last is not None
        used = self.last.prompt_tokens + self.last.generation_tokens
        if used >= context:
            return f"the model's context of {context} tokens", "shorten the prompt"
        if options.max_kv_size is not None and used >= options.max_kv_size:
            return f"--max-kv-size {options.max_kv_size}", "raise --max-kv-size"
        return f"--max-tokens {options.max_tokens}", "raise --max-tokens"

    def interrupt(self) -> None:
        """Take note of Ctrl-C, and say how far the reply came."""
        self.finish_reason = "interrupted"
        note("the answer is cut off by Ctrl-C" if self.content else "stopped by Ctrl-C before an answer began")

    def as_dict(self) -> dict[str, Any]:
        """The whole reply for machines. Speeds are in tokens a second, memory in bytes."""
        figures = ("prompt_tokens", "reused_tokens", "prompt_tps", "generation_tokens", "generation_tps", "peak_memory")
        texts = {"content": self.content, "reasoning": self.reasoning, "finish_reason": self.finish_reason}
        calls = {"tool_calls": self.tool_calls} if self.tool_calls else {}
        errors = {"error": explained(self.error)} if self.error else {}
        return texts | calls | errors | {name: getattr(self.last, name, None) for name in figures}

    def report(self) -> dict[str, str]:
        """The footer's lines, once there is a token."""
        last = self.last
        assert last is not None
        reused = f" ({last.reused_tokens} of them kept)" if last.reused_tokens else ""
        return {
            "Prompt": f"{last.prompt_tokens} tokens{reused}, {last.prompt_tps:.3f} tokens-per-sec",
            "Generation": f"{last.generation_tokens} tokens, {last.generation_tps:.3f} tokens-per-sec",
            "Peak memory": f"{last.peak_memory / 1e9:.3f} GB",
        }

    def drafts(self) -> dict[str, str]:
        """How good the drafter's guesses were; nothing if there were none."""
        last = self.last
        if last is None or not last.drafted_tokens:
            return {}
        share = last.accepted_tokens / last.drafted_tokens
        return {"Drafting": f"{last.tokens_per_pass:.2f} tokens a pass, {share:.0%} of the guesses accepted"}
