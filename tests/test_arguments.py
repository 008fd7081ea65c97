"""Messages of the library name arguments; the commands call them by their flags."""

import argparse
import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path

import pytest

from gemma4_mlx import api
from gemma4_mlx.commands import bench, chat, common, convert, generate
from gemma4_mlx.commands.common import explained, flags_of, with_flags
from gemma4_mlx.engine.memory import budget
from gemma4_mlx.engine.options import BESIDE, GenerationOptions
from gemma4_mlx.errors import GemmaError, UsageError, note
from gemma4_mlx.prompt.processor import MediaOptions

PACKAGE = Path(__file__).resolve().parent.parent / "gemma4_mlx"
WRITES_COMMANDS = {"adapters.py", "card.py", "settings.py", "steps.py", "unfinished.py"}
SAYS = {"GemmaError", "UsageError", "DoesNotFitError", "note"}
NAMES = {field.name for options in (GenerationOptions, MediaOptions) for field in fields(options)}
NAMES |= set(inspect.signature(api.stream_generate).parameters) | set(inspect.signature(api.load).parameters)
TELLING = {name for name in NAMES if "_" in name} - {"json_schema"}
"""Names that are nothing but arguments: "temperature" or "images" are words, and json_schema is a word of OpenAI's."""


@pytest.fixture
def flags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "FLAGS", flags_of(generate.make_parser()))


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def texts(node: ast.AST) -> Iterator[str]:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
            yield inner.value


def messages() -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """File, text and declared arguments of every error and note of the library."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.parent.name == "commands":
            continue
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in SAYS:
                declared = [word.value for word in node.keywords if word.arg == "arguments"]
                given = " ".join(text for part in node.args for text in texts(part))
                yield f"{path.name}:{node.lineno}", given, tuple(text for part in declared for text in texts(part))


def test_errors_declare_the_arguments_that_they_name() -> None:
    found = list(messages())
    assert len(found) > 200
    for place, text, declared in found:
        named = {word for word in re.findall(r"\b[a-z]+(?:_[a-z]+)+\b", text) if word in TELLING}
        assert named <= set(declared), place
    assert sum(bool(declared) for _, _, declared in found) >= 8


def test_the_library_names_no_flags() -> None:
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.parent.name != "commands" and path.name not in WRITES_COMMANDS:
            tree = parsed(path)
            strings = [
                node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
            ]
            docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
            said = [node.value for node in strings if id(node) not in docs]
            assert not [text for text in said if re.search(r"(^|\s)--[a-z]", text)], path.name


@pytest.mark.parametrize("name", sorted(field.name for field in fields(GenerationOptions)))
def test_an_option_out_of_range_is_called_by_its_flag(name: str, flags: None) -> None:
    with pytest.raises(UsageError) as error:
        budget(GenerationOptions(**{name: object()}).memory_limit)
    assert str(error.value).startswith(f"{name} must be ")
    own = {"temperature": "--temp", "constrain_calls": "--no-constrain-calls", "wire": "--no-wire"}
    flag = own.get(name, f"--{name.replace('_', '-')}")
    without = {"eos_ids", "suppress_tokens"}
    assert explained(error.value).startswith(f"{name if name in without else flag} must be ")


@pytest.mark.parametrize(
    ("text", "arguments", "said"),
    [
        ("stop must be a text, not stop", ["stop"], "--stop must be a text, not stop"),
        ("raise max_tokens or max_tokens", ["max_tokens", "max_tokens"], "raise --max-tokens or --max-tokens"),
        ("kv_bits=4 fits", ["kv_bits"], "--kv-bits 4 fits"),
        ("kv_bits fits", ["max_tokens", "kv_bits"], "--kv-bits fits"),
        ("images can't be int", ["images"], "--image can't be int"),
        ("my_max_tokens_2: no", ["max_tokens"], "my_max_tokens_2: no"),
        ("session is busy", ["session"], "session is busy"),
        ("max_tokens", [], "max_tokens"),
    ],
)
def test_a_message_with_flags(text: str, arguments: list[str], said: str, flags: None) -> None:
    assert with_flags(text, arguments) == said
    assert explained(GemmaError(text, arguments=arguments)) == said


def test_each_command_has_flags_of_its_own(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert [flags_of(module.make_parser()).get("max_tokens") for module in (bench, chat, convert, generate)] == [
        None, "--max-tokens", None, "--max-tokens",
    ]  # fmt: skip

    def command(_: argparse.Namespace) -> int:
        note("raise max_tokens", arguments=["max_tokens"])
        raise UsageError("raise kv_bits", arguments=["kv_bits"])

    for module, line, code in ((chat, "note: raise --max-tokens\nerror: raise --kv-bits\n", 2),):
        assert common.run(command, module.make_parser(), []) == code
        assert capsys.readouterr().err == line


@pytest.mark.parametrize(
    ("name", "cure"),
    [
        ("temp", "did you mean temperature?"),
        ("temperatur", "did you mean temperature?"),
        ("image", "did you mean images?"),
        ("video", "did you mean videos?"),
        ("max_new_tokens", "did you mean max_tokens?"),
        ("fps", "did you mean media=MediaOptions(fps=...)?"),
        ("json_shema", "did you mean json_schema?"),
        ("qqq", "there are images, audio, videos, tools, enable_thinking, prefill_response, json_schema, media,"),
    ],
)
def test_an_argument_that_there_is_not(name: str, cure: str) -> None:
    with pytest.raises(UsageError) as error:
        GenerationOptions.from_config({}, **{name: 1})
    assert str(error.value).startswith(f"there is no argument {name}; {cure}")


def test_the_arguments_beside_the_options_are_those_of_the_front_door() -> None:
    own = {"model", "processor", "prompt", "options"}
    assert set(BESIDE) == set(inspect.signature(api.stream_generate).parameters) - own
