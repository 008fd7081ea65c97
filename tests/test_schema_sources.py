"""What can stand for a JSON schema, in Python and on the command line."""

import dataclasses
import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pydantic
import pytest
from typing_extensions import TypedDict

from gemma4_mlx.commands.generate import main, read_schema_option
from gemma4_mlx.engine import schema
from gemma4_mlx.engine.schema import compile_schema
from gemma4_mlx.errors import GemmaError, UsageError

SCHEMA: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
TEXT = json.dumps(SCHEMA)


class Model(pydantic.BaseModel):
    a: str


@dataclasses.dataclass
class Data:
    a: str


class Typed(TypedDict):
    a: str


class OldModel:
    """As pydantic 1 makes them."""

    __fields__: ClassVar = {"a": str}

    @classmethod
    def schema(cls) -> dict[str, Any]:
        return SCHEMA


class Broken:
    @classmethod
    def model_json_schema(cls) -> None:
        raise RuntimeError("no schema\nfor callables")


@pytest.mark.parametrize(
    "given",
    [
        TEXT, TEXT.encode(), f" \n{TEXT}", Model, Model(a="b"), pydantic.TypeAdapter(Model), Data, Data("b"), Typed,
        OldModel, pydantic.TypeAdapter(Data), {"json_schema": {"name": "x", "schema": SCHEMA}},
    ],
    ids=str,
)  # fmt: skip
def test_what_stands_for_a_schema(given: Any) -> None:
    read = schema.unwrapped(schema.read_schema(given))
    without_titles = {"type": read["type"], "properties": {"a": {"type": read["properties"]["a"]["type"]}}}
    assert without_titles | {"required": read["required"]} == SCHEMA


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("{'a': 1}", "json_schema is text and was read as JSON, which it is not (Expecting property name"),
        ("schema.json", "json_schema is text and was read as JSON, which it is not (Expecting value: line 1"),
        ("", "json_schema is text and was read as JSON"),
        (Broken, "json_schema: Broken gives no JSON schema (no schema for callables)"),
        (pydantic.TypeAdapter(Callable[[], int]), "json_schema: TypeAdapter gives no JSON schema ("),
        (3, 'the JSON schema must be an object, such as {"type": "object", ...}, not int'),
        ([SCHEMA], 'the JSON schema must be an object, such as {"type": "object", ...}, not list'),
        (Path("schema.json"), "the JSON schema must be an object"),
        (str, "the JSON schema must be an object"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_no_schema(given: Any, line: str) -> None:
    with pytest.raises(UsageError) as error:
        compile_schema(given)
    assert str(error.value).startswith(line)


def test_pydantic_is_not_imported_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "pydantic")
    with pytest.raises(UsageError, match="is a typed class; import pydantic"):
        compile_schema(Data)
    assert "pydantic" not in sys.modules


def test_forms_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "s.json"
    file.write_text(TEXT)
    for given in (TEXT, f"  {TEXT}", str(file)):
        assert read_schema_option(given) == SCHEMA
    for given in ("-", "/dev/stdin"):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xef\xbb\xbf" + TEXT.encode())))
        assert read_schema_option(given) == SCHEMA
    reading, writing = os.pipe()
    os.write(writing, TEXT.encode())
    os.close(writing)
    assert read_schema_option(f"/dev/fd/{reading}") == SCHEMA
    os.close(reading)


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (["{'a': 1}"], 1, "--json-schema {'a': 1} was read as the schema itself, not as the name of a file: it is not"),
        (["[1]"], 2, 'the JSON schema must be an object, such as {"type": "object", ...}, not list'),
        (["-"], 1, "--json-schema -: it is not JSON (Expecting value"),
        (["-", "--image", "-"], 2, "standard input can be read once: only one option may be -"),
        (["nowhere.json"], 1, "--json-schema nowhere.json: there is no such file"),
        (["@nowhere.json"], 1, "--json-schema @nowhere.json: there is no such file"),
        ([""], 2, "--json-schema: the name of a file is missing"),
    ],
)
def test_errors_say_which_form_was_read(words: list[str], code: int, line: str, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"no JSON")))
    assert main(["-p", "x", "--json-schema", *words]) == code
    assert capsys.readouterr().err.startswith(f"error: {line}")


def test_what_is_piped_in_is_the_schema_and_no_context(monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(TEXT.encode())))
    assert main(["-p", "Hi", "--model", "nano", "--json-schema", "-", "--plan", "--json"]) == 0
    assert "before the question" not in capsys.readouterr().err
    assert GemmaError.exit_code == 1
