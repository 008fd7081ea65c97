"""The sandboxed Jinja environment that chat templates are written for: their library's tags, filters and functions.

A file of its own, as extensions are classes and Jinja is imported only once a template is read.
"""

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NoReturn

from jinja2 import TemplateError
from jinja2.ext import Extension
from jinja2.nodes import CallBlock, Node
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.tests import test_sequence
from jinja2.utils import Namespace

from gemma4_mlx.prompt.tokenizer import MARK

NOT_ASCII = re.compile(f"[^\x00-\x7f{MARK}]")


class GenerationBlocks(Extension):
    """`{% generation %}` and `{% endgeneration %}`, which mark the model's part for training: the text between them."""

    tags = {"generation"}  # noqa: RUF012  # as the base class has it

    def parse(self, parser: Parser) -> Node:
        """Turns a block into a call of `_render` with its body."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return CallBlock(self.call_method("_render"), [], [], body).set_lineno(line)

    def _render(self, caller: Callable[[], str]) -> str:
        return caller()


class Sandbox(ImmutableSandboxedEnvironment):
    """Takes objects for objects, and reads namespaces quickly."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.tests["sequence"] = is_sequence

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """As the sandbox says, which takes long; Gemma's template reads namespaces n * n times for n messages."""
        return not attr.startswith("_") if type(obj) is Namespace else super().is_safe_attribute(obj, attr, value)


def make_environment() -> Sandbox:
    """A new environment."""
    environment = Sandbox(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", GenerationBlocks]
    )
    environment.filters["tojson"] = to_json
    environment.globals |= {"raise_exception": refuse, "strftime_now": strftime_now}
    return environment


def is_sequence(value: Any) -> bool:
    """Jinja's test, but false for objects: templates take a tool's result for a list of parts if it is true."""
    return test_sequence(value) and not isinstance(value, Mapping)


def to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON as Python writes it, without Jinja's escapes for HTML. Marks in people's text stay marks."""
    text = json.dumps(value, ensure_ascii=False, indent=indent, separators=separators, sort_keys=sort_keys)
    return NOT_ASCII.sub(lambda match: json.dumps(match[0])[1:-1], text) if ensure_ascii else text


def strftime_now(form: str) -> str:
    """The local time, as `form` says."""
    return datetime.now().strftime(form)


def refuse(message: str) -> NoReturn:
    """Ends the rendering with a template's own reason."""
    raise TemplateError(message)
