"""Conversations as text: the chat template and the expansion of media placeholders into soft-token runs."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

TEMPLATE = Path(__file__).with_name("chat_template.jinja")


def _raise(message: str) -> None:
    raise jinja2.TemplateError(message)


def environment() -> ImmutableSandboxedEnvironment:
    """Jinja as chat templates expect it."""
    made = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    made.globals["raise_exception"] = _raise
    return made


@cache
def _template() -> jinja2.Template:
    return environment().from_string(TEMPLATE.read_text())


def render(messages: list[dict[str, Any]], tools: list[dict] | None = None, thinking: bool = False) -> str:
    """The prompt's text, up to where the model continues."""
    return _template().render(
        messages=messages, tools=tools, enable_thinking=thinking, add_generation_prompt=True, bos_token="<bos>"
    )


def expand(text: str, counts: Iterator[int | list[tuple[float, int]]]) -> str:
    """Replace each placeholder by its run of soft tokens.

    `counts` gives, per placeholder in order, the number of soft tokens of the image or clip, or for a video a list of
    (seconds, soft tokens) with one entry a frame.
    """
    pieces = []
    rest = text
    while True:
        found = [(at, kind) for kind in ("image", "audio", "video") if (at := rest.find(f"<|{kind}|>")) >= 0]
        if not found:
            return "".join(pieces) + rest
        at, kind = min(found)
        pieces += [rest[:at], _run(kind, next(counts))]
        rest = rest[at + len(f"<|{kind}|>") :]


def _run(kind: str, count: Any) -> str:
    if kind == "video":
        return " ".join(f"{int(s) // 60:02d}:{int(s) % 60:02d} <|image>{'<|video|>' * n}<image|>" for s, n in count)
    return f"<|{kind}>{f'<|{kind}|>' * count}<{kind}|>"
