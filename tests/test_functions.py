"""Python functions as tools."""

import enum
from collections.abc import AsyncIterator
from typing import Any, Literal, Optional

import pytest

from gemma4_mlx.errors import GemmaError
from gemma4_mlx.prompt.functions import tool_from_function
from gemma4_mlx.prompt.tools import read_tool


class Unit(enum.Enum):
    CELSIUS = "C"
    FAHRENHEIT = "F"


def forecast(city: str, days: int = 3, unit: Unit = Unit.CELSIUS) -> str:
    """Tell the weather
    of a city.

    More about it.

    Args:
        city (str): where: a city's name,
            in English
        days: how many days

    Returns:
        text: not an argument
    """
    return f"{city} {days} {unit.name}"


def test_hints_and_docstring_become_a_schema() -> None:
    tool = read_tool(forecast)
    assert (tool.name, tool.description) == ("forecast", "Tell the weather of a city.")
    assert tool.parameters == {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "where: a city's name, in English"},
            "days": {"type": "integer", "description": "how many days", "default": 3},
            "unit": {"type": "string", "enum": ["C", "F"]},
        },
        "required": ["city"],
        "additionalProperties": False,
    }


def test_running_converts_what_the_function_expects() -> None:
    tool = read_tool(forecast)
    assert tool.run is not None
    assert tool.run({"city": "Rome", "unit": "F"}) == "Rome 3 FAHRENHEIT"
    with pytest.raises(GemmaError, match="argument unit: 'K' is not one of"):
        tool.check({"city": "Rome", "unit": "K"})
    with pytest.raises(GemmaError, match="'town' was unexpected"):
        tool.check({"city": "Rome", "town": "Rome"})


HINTS = [
    (str, {"type": "string"}),
    (float, {"type": "number"}),
    (bool, {"type": "boolean"}),
    (list, {"type": "array"}),
    (dict, {"type": "object"}),
    (Any, {}),
    (list[int], {"type": "array", "items": {"type": "integer"}}),
    (list[list[str]], {"type": "array", "items": {"type": "array", "items": {"type": "string"}}}),
    (dict[str, bool], {"type": "object", "additionalProperties": {"type": "boolean"}}),
    (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
    (Literal[1, 2], {"type": "integer", "enum": [1, 2]}),
    (Optional[int], {"anyOf": [{"type": "integer"}, {"type": "null"}]}),  # noqa: UP045
    (str | int | None, {"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}]}),
    (list[Unit], {"type": "array", "items": {"type": "string", "enum": ["C", "F"]}}),
]


@pytest.mark.parametrize(("hint", "schema"), HINTS)
def test_each_hint(hint: Any, schema: dict[str, Any]) -> None:
    def function(x):  # type: ignore[no-untyped-def]
        return x

    function.__annotations__["x"] = hint
    assert tool_from_function(function).parameters["properties"] == {"x": schema}


def test_enums_inside_lists_dicts_and_options_are_converted() -> None:
    def function(many: list[Unit], named: dict[str, Unit], maybe: Unit | None = None) -> Any:
        return many, named, maybe

    run = tool_from_function(function).run
    assert run is not None
    assert run({"many": ["F"], "named": {"a": "C"}, "maybe": None}) == ([Unit.FAHRENHEIT], {"a": Unit.CELSIUS}, None)
    assert run({"many": [], "named": {}, "maybe": "C"})[2] is Unit.CELSIUS


def test_methods_lose_self_and_no_docstring_is_no_error() -> None:
    class Counter:
        def count(self, to: int) -> int:
            return to

    tool = read_tool(Counter().count)
    assert tool.description == ""
    assert list(tool.parameters["properties"]) == ["to"]


def untyped(x):  # type: ignore[no-untyped-def]
    return x


def spread(*values: int) -> None: ...


def odd(x: complex) -> None: ...


def mixed(x: Literal["a", 1]) -> None: ...


def unclear(x: Unit | int) -> None: ...


async def awaited(x: int) -> int:
    return x


async def streamed(x: int) -> AsyncIterator[int]:
    yield x


def missing(x: "Nowhere") -> None: ...  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (untyped, "tool untyped: parameter x has no type hint; give it one"),
        (spread, "tool spread: *values: int can't be given by name"),
        (odd, "tool odd: parameter x has a type that JSON has not: complex"),
        (mixed, "parameter x has a type that JSON has not"),
        (unclear, "parameter x has a type that JSON has not"),
        (awaited, "tool awaited: async functions are not awaited; give one that calls asyncio.run itself"),
        (streamed, "tool streamed: async functions are not awaited"),
        (missing, "tool missing: its type hints can't be read (name 'Nowhere' is not defined)"),
    ],
)
def test_functions_that_can_not_be_called_from_json_are_refused(function: Any, message: str) -> None:
    with pytest.raises(GemmaError) as error:
        read_tool(function)
    assert message in str(error.value)
