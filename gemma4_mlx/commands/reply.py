"""What a streamed reply comes to: its texts, its tool calls, and the figures under it."""

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gemma4_mlx.errors import GemmaError, one_line

if TYPE_CHECKING:
    from gemma4_mlx.agent import ToolResult
    from gemma4_mlx.engine.generation import Response
    from gemma4_mlx.prompt.calls import ToolCall


def call_as_dict(call: "ToolCall") -> dict[str, Any]:
    """A tool call for JSON."""
    return {"name": call.name, "arguments": dict(call.arguments)}


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

    def add(self, response: "Response") -> None:
        """Takes in one piece."""
        if self.last is None:
            self.first_token = time.perf_counter()
        if response.channel == "answer":
            self.content += response.text
        elif response.channel == "thought":
            self.reasoning += response.text
        if response.call is not None:
            self.tool_calls.append(call_as_dict(response.call))
        self.finish_reason, self.last = response.finish_reason, response

    def add_result(self, result: "ToolResult") -> None:
        """Takes in what a call came to. Results come in the order of their calls."""
        waiting = next(call for call in self.tool_calls if "result" not in call)
        waiting |= {"result": result.text, "failed": result.failed}

    def as_dict(self) -> dict[str, Any]:
        """The whole reply for machines. Speeds are in tokens a second, memory in bytes."""
        figures = ("prompt_tokens", "reused_tokens", "prompt_tps", "generation_tokens", "generation_tps", "peak_memory")
        texts = {"content": self.content, "reasoning": self.reasoning, "finish_reason": self.finish_reason}
        calls = {"tool_calls": self.tool_calls} if self.tool_calls else {}
        errors = {"error": one_line(self.error)} if self.error else {}
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
        } | self._drafts()

    def _drafts(self) -> dict[str, str]:
        last = self.last
        if last is None or not last.drafted_tokens:
            return {}
        share = last.accepted_tokens / last.drafted_tokens
        return {"Drafting": f"{last.tokens_per_pass:.2f} tokens a pass, {share:.0%} of the guesses accepted"}
