"""The sandboxed Jinja environment that chat templates are written for: their library's tags, filters and functions.

Templates come with checkpoints, from anybody, so all that can take long or make much is metered: each round of a loop,
each call of a macro, filter or method, and each operator, before it is applied.

A file of its own, as extensions are classes and Jinja is imported only once a template is read.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import wraps
from itertools import islice
from types import BuiltinMethodType
from typing import Any, NoReturn

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension
from jinja2.nodes import CallBlock, Node
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.tests import test_sequence
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

from gemma4_mlx.prompt.render_limits import LARGE, MOST_BITS, MOST_UNSEEN, ExhaustedError, concatenated, meter
from gemma4_mlx.prompt.tokenizer import MARK

FREE = frozenset(
    (
        *("abs", "attr", "count", "d", "default", "first", "float", "int", "items", "last", "length", "list", "map"),
        *("random", "reject", "rejectattr", "reverse", "safe", "select", "selectattr"),
    )
)
"""Filters that look at no more of a value than they must."""

USUAL = frozenset(
    (
        *("capitalize", "dictsort", "e", "escape", "forceescape", "format", "indent", "join", "lower", "max", "min"),
        *("replace", "sort", "string", "tojson", "trim", "truncate", "unique", "upper"),
    )
)
"""Filters that may be given as much as a text may have; all others take RARE at most, as some of them are slow."""

LONG_ROUND = 200
"""Nodes in a loop's body."""

RARE = 50_000
"""Characters and elements."""

COMPARING = frozenset(
    ["!=", "<", "<=", "==", ">", ">=", "eq", "equalto", "ge", "greaterthan", "gt", "in", "le", "lessthan", "lt", "ne"]
)
"""Tests that look into values as deep as they go."""

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


class Metering(NodeTransformer):
    """Puts checks into a template: before loops, and around what Jinja compiles to bare Python."""

    def visit_For(self, node: nodes.For) -> Node:  # noqa: N802  # as Jinja calls it
        """Count the rounds before the first; each of its own if it is a long one."""
        is_long = len(list(islice(node.find_all(nodes.Node), LONG_ROUND))) == LONG_ROUND
        self.generic_visit(node)
        node.iter = _filtered(node.iter, "rounds")
        if is_long:
            tick = nodes.EnvironmentAttribute("tick", lineno=node.lineno)
            node.body.insert(0, nodes.ExprStmt(tick, lineno=node.lineno))
        return node

    def visit_Concat(self, node: nodes.Concat) -> Node:  # noqa: N802  # as Jinja calls it
        """Join texts with a filter."""
        self.generic_visit(node)
        return _filtered(nodes.List(node.nodes, lineno=node.lineno), "joined")

    def visit_Compare(self, node: nodes.Compare) -> Node:  # noqa: N802  # as Jinja calls it
        """Weigh what is compared, if it is not with a constant."""
        self.generic_visit(node)
        if not any(isinstance(part, nodes.Const) for part in (node.expr, *(operand.expr for operand in node.ops))):
            node.expr = _filtered(node.expr, "weighed")
            for operand in node.ops:
                operand.expr = _filtered(operand.expr, "weighed")
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> Node:  # noqa: N802  # as Jinja calls it
        """Weigh copies of a part of a value."""
        self.generic_visit(node)
        return _filtered(node, "made") if isinstance(node.arg, nodes.Slice) else node

    def visit_Pair(self, node: nodes.Pair) -> Node:  # noqa: N802  # as Jinja calls it
        """Weigh keys, which are hashed."""
        self.generic_visit(node)
        node.key = _filtered(node.key, "weighed")
        return node


def _filtered(node: Any, name: str) -> nodes.Expr:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


class Sandbox(ImmutableSandboxedEnvironment):
    """Takes objects for objects, reads namespaces quickly, and meters what a template does."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, finalize=_weighed, optimized=False)
        self.concat = concatenated  # type: ignore[method-assign]  # Jinja calls what the environment has
        self.filters = {name: _metered_filter(name, function) for name, function in self.filters.items()}
        self.filters |= {"weighed": _weighed, "joined": _joined, "made": _made, "rounds": _rounds}
        self.tests |= {name: _metered_test(test) for name, test in self.tests.items() if name in COMPARING}
        self.tests["sequence"] = is_sequence
        del self.globals["lipsum"]

    @property
    def tick(self) -> None:
        """What compiled templates read in each round of a long loop."""
        meter().tick()

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """As the sandbox says, which takes long; Gemma's template reads namespaces n * n times for n messages."""
        return not attr.startswith("_") if type(obj) is Namespace else super().is_safe_attribute(obj, attr, value)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        return Metering().visit(super()._parse(source, name, filename))

    def getitem(self, obj: Any, argument: Any) -> Any:
        """An element; a tuple as its name is weighed, as it is hashed."""
        if type(argument) is tuple:
            meter().weigh(argument)
        return super().getitem(obj, argument)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """A sum, product, power or remainder that is not too large; `%` also fills formats."""
        counted = meter()
        counted.tick()
        _check_operands(operator, left, right)
        return counted.made(super().call_binop(context, operator, left, right))

    def call(self, context: Context, function: Any, /, *arguments: Any, **named: Any) -> Any:
        """Call a function, macro or method."""
        counted = meter()
        counted.tick()
        if isinstance(function, BuiltinMethodType):
            arguments = tuple(_check_arguments(function, [*arguments]))
            counted.check_numbers(named.values() if isinstance(function.__self__, (str, bytes, int)) else ())
        return counted.made(super().call(context, function, *arguments, **named))

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """`str.format` in the sandbox, if it does not make too much of its values."""
        formatted = super().wrap_str_format(value) if isinstance(value, BuiltinMethodType) else None
        if formatted is None:
            return None

        @wraps(formatted)
        def metered(*arguments: Any, **named: Any) -> str:
            meter().check_format(value.__self__, [*arguments, named])
            return formatted(*arguments, **named)

        return metered


def _check_operands(operator: str, left: Any, right: Any) -> None:
    """Raise ExhaustedError for an operation whose result would be too large."""
    counted = meter()
    if operator == "%" and isinstance(left, (str, bytes)):
        counted.check_format(str(left), right)
    elif isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length() * right if operator == "**" else left.bit_length() + right.bit_length()
        if bits > MOST_BITS:
            raise ExhaustedError(f"the template makes a number of more than {MOST_BITS} bits")
    elif operator == "*" and isinstance(left, int) | isinstance(right, int):
        values, times = (right, left) if isinstance(left, int) else (left, right)
        counted.check_size(_length(values) * times)
    elif operator == "+":
        counted.check_size(_length(left) + _length(right))


def _length(value: Any) -> int:
    return len(value) if isinstance(value, (str, bytes, list, tuple)) else 0


def _check_arguments(method: BuiltinMethodType, arguments: list[Any]) -> list[Any]:
    """The arguments of a built-in method, iterators as lists. Raise ExhaustedError if too much would come of them."""
    counted, owner = meter(), method.__self__
    arguments = [counted.listed(value) if isinstance(value, Iterator) else value for value in arguments]
    if isinstance(owner, (str, bytes, int)):
        counted.check_numbers(arguments)
    weight = counted.weigh([owner if isinstance(owner, (str, bytes, list, tuple)) else None, *arguments])
    if isinstance(owner, (str, bytes)) and arguments:
        if method.__name__ == "join":
            counted.check_size(weight + len(owner) * _length(arguments[0]))
        elif method.__name__ == "replace":
            counted.check_size(len(owner) + _replaced(owner, arguments))
        elif method.__name__ in ("expandtabs", "translate"):
            counted.check_size(len(owner) * (arguments[0] if isinstance(arguments[0], int) else weight))
    return arguments


def _replaced(text: Any, arguments: list[Any]) -> int:
    """Characters that come with a replacement."""
    old, new = [*arguments, "", ""][:2]
    return text.count(old) * len(new) if type(old) is type(new) is type(text) else 0


def _metered_filter(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that raises ExhaustedError before it makes too much of its arguments."""
    first = 1 if hasattr(function, "jinja_pass_arg") else 0

    @wraps(function)
    def filtered(*arguments: Any, **named: Any) -> Any:
        counted = meter()
        counted.tick()
        if name not in FREE:
            values = [counted.listed(value) if isinstance(value, Iterator) else value for value in arguments[first:]]
            arguments = (*arguments[:first], *values)
            _check_filter(name, values, named)
        elif any(_length(value) >= LARGE for value in arguments[first : first + 1]):
            counted.check()
        return counted.made(function(*arguments, **named))

    return filtered


def _check_filter(name: str, values: list[Any], named: Mapping[str, Any]) -> None:
    """Raise ExhaustedError for arguments of which a filter would make too much, or take too long."""
    counted, others = meter(), [*values[1:], *named.values()]
    counted.check_numbers(others)
    indent = max((value for value in others if isinstance(value, int)), default=0) if name == "tojson" else 0
    weight = counted.weigh([values, named], None if name in USUAL else RARE, indent)
    value = values[0] if values else ""
    if name == "format":
        counted.check_format(str(value), others)
    elif name == "replace":
        counted.check_size(weight + _replaced(str(value), [str(other) for other in others]))
    elif name in ("indent", "join"):
        lines = str(value).count("\n") + 1 if name == "indent" else _length(value)
        counted.check_size(weight + lines * max((_width(other) for other in others), default=4))


def _width(value: Any) -> int:
    return value if isinstance(value, int) else len(value) if isinstance(value, str) else 0


def _metered_test(test: Any) -> Callable[..., bool]:
    @wraps(test)
    def tested(*values: Any) -> bool:
        meter().weigh(values)
        return test(*values)

    return tested


def _weighed(value: Any) -> Any:
    """The value, if there is not too much in it to be written or compared."""
    if isinstance(value, (list, tuple, dict, set)):
        meter().weigh(value)
    return value


def _made(value: Any) -> Any:
    return meter().made(value)


def _rounds(values: Any) -> Any:
    """What a loop goes through, its rounds counted."""
    counted = meter()
    if not hasattr(values, "__len__") or len(values) > MOST_UNSEEN:
        return counted.ticking(values)
    counted.tick(len(values))
    return values


def _joined(values: list[Any]) -> str:
    """Texts of values, one after another."""
    counted = meter()
    counted.tick()
    counted.check_size(counted.weigh(values))
    return "".join(map(str, values))


def make_environment() -> Sandbox:
    """A new environment."""
    environment = Sandbox(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", GenerationBlocks]
    )
    environment.filters["tojson"] = _metered_filter("tojson", to_json)
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
    meter().check_format(form.replace("%", "{"), ())
    return datetime.now().strftime(form)


def refuse(message: str) -> NoReturn:
    """Ends the rendering with a template's own reason."""
    raise TemplateError(message)
