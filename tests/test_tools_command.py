"""Tools of an MCP server at the command line: asked about, run, answered from; with the built-in model."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gemma4_mlx.agent import ToolResult
from gemma4_mlx.commands import chat, generate
from gemma4_mlx.commands.reply import Reply
from gemma4_mlx.commands.terminal import Terminal
from gemma4_mlx.commands.tools import Confirmation, call_text
from gemma4_mlx.engine.generation import Response
from gemma4_mlx.prompt.calls import MalformedCall, ToolCall
from gemma4_mlx.prompt.tools import Tool

pytest.importorskip("mcp")

SERVER = """
import json, sys

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"name": "get_weather", "description": "Get the weather in a city.", "inputSchema": SCHEMA}

def get_weather(city):
    print("asked", city, file=open(r"{log}", "a"))
    if city == "Oslo":
        return {"content": [{"type": "text", "text": "no such station"}], "isError": True}
    return {"content": [{"type": "text", "text": "17 degrees, sunny"}]}

def initialize(version):
    return {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": {"name": "test", "version": "1"}}

for line in sys.stdin:
    asked = json.loads(line)
    method, given = asked["method"], asked.get("params") or {}
    if method == "initialize":
        answer = initialize(given["protocolVersion"])
    elif method == "tools/call":
        answer = get_weather(**given["arguments"])
    else:
        answer = {"tools": [TOOL]} if method == "tools/list" else {}
    if "id" in asked:
        print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": answer}), flush=True)
"""
"""Without the mcp package, whose import would be most of the time."""

ROME, BERLIN, OSLO = (f"What is the weather in {city}?" for city in ("Rome", "Berlin", "Oslo"))
ANSWER = "It is 17 degrees and sunny in Rome."


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def run(tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Callable[..., tuple[int, str, str]]:
    """Runs a command with the tool; typed lines come from a terminal unless they are None."""
    (tmp_path / "server.py").write_text(SERVER.replace("{log}", str(log)))
    servers = {"mcpServers": {"weather": {"command": sys.executable, "args": [str(tmp_path / "server.py")]}}}
    (tmp_path / "mcp.json").write_text(json.dumps(servers))

    def command(main: Callable[[list[str]], int], *options: str, typed: str | None = None) -> tuple[int, str, str]:
        stdin = io.StringIO(typed or "")
        stdin.isatty = lambda: typed is not None  # type: ignore[method-assign]
        monkeypatch.setattr(sys, "stdin", stdin)
        code = main(["--model", "nano", "--mcp", str(tmp_path / "mcp.json"), *options])
        out, err = capsys.readouterr()
        return code, out, err

    return command


def asked(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


def test_the_model_calls_a_tool_and_answers_from_it(run: Any, log: Path) -> None:
    code, out, err = run(generate.main, "--yes", "-p", ROME)
    assert (code, out, asked(log)) == (0, f"{ANSWER}\n", ["asked Rome"])
    assert err.startswith('get_weather {"city": "Rome"} -> 17 degrees, sunny\n')


def test_everything_is_in_the_json(run: Any) -> None:
    code, out, _ = run(generate.main, "--yes", "--json", "--enable-thinking", "-p", ROME)
    said = json.loads(out)
    assert (code, said["content"], said["finish_reason"]) == (0, ANSWER, "stop")
    assert said["tool_calls"] == [
        {"name": "get_weather", "arguments": {"city": "Rome"}, "result": "17 degrees, sunny", "failed": False}
    ]
    assert said["reasoning"].startswith("I need the tool.")
    assert said["reused_tokens"] > 50


@pytest.mark.parametrize(
    ("typed", "runs"), [("y\n", True), ("yes\n", True), ("n\n", False), ("\n", False), ("", False)]
)
def test_it_asks_before_a_tool_runs(run: Any, log: Path, typed: str, runs: bool) -> None:
    code, out, err = run(generate.main, "-p", ROME, "-m", "40", typed=typed)
    assert err.startswith('run get_weather (server weather) {"city": "Rome"}? [y]es, [n]o, [a]lways: ')
    assert (asked(log) == ["asked Rome"]) is runs
    assert (code == 0 and ANSWER in out) is runs


def test_nobody_to_ask_is_told_before_anything_is_loaded(run: Any, log: Path) -> None:
    for main in (generate.main, chat.main):
        code, out, err = run(main, *(["-p", ROME] if main is generate.main else []))
        assert (code, out, asked(log)) == (2, "", [])
        assert (
            err == "error: --mcp asks before a tool runs, and standard input is no terminal: --yes runs them unasked\n"
        )


def test_a_chat_asks_once_where_it_may_always_run(run: Any, log: Path) -> None:
    code, out, err = run(chat.main, "--temp", "0", typed=f"{ROME}\na\n{BERLIN}\n/exit\n")
    assert (code, out.splitlines()) == (0, [ANSWER, ANSWER.replace("Rome", "Berlin")])
    assert err.count("[a]lways: ") == 1
    assert asked(log) == ["asked Rome", "asked Berlin"]


def test_a_chat_keeps_calls_and_responses(run: Any, tmp_path: Path) -> None:
    file = tmp_path / "talk.json"
    run(chat.main, "--yes", "--temp", "0", "--enable-thinking", typed=f"{ROME}\n/save {file}\n")
    messages = json.loads(file.read_text())
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "assistant"]
    assert messages[1]["tool_calls"][0]["function"] == {"name": "get_weather", "arguments": {"city": "Rome"}}
    assert (messages[2]["content"], messages[3]["content"]) == ("17 degrees, sunny", ANSWER)
    assert not any("reasoning" in message for message in messages)
    _, out, _ = run(chat.main, "--yes", "--temp", "0", typed=f"/load {file}\n/retry\n")
    assert out == f"{ANSWER}\n"


def test_a_result_of_5_mb_is_cut_and_said(run: Any, tmp_path: Path) -> None:
    server = tmp_path / "server.py"
    server.write_text(server.read_text().replace('"17 degrees, sunny"', '"17 degrees, sunny" + " " * 5_000_000'))
    code, _, err = run(generate.main, "--yes", "-p", ROME, "--max-kv-size", "4096", "-m", "40")
    assert code == 0
    assert "note: of the result of get_weather, 5,000,017 characters, the model reads 512\n" in err


def test_a_tool_that_fails_is_told_to_the_model(run: Any, log: Path) -> None:
    _, _, err = run(generate.main, "--yes", "-p", OSLO, "-m", "40")
    assert asked(log)[0] == "asked Oslo"
    assert 'get_weather {"city": "Oslo"} -> error: ' in err


def test_a_wrong_file_is_one_line(run: Any, tmp_path: Path) -> None:
    (tmp_path / "mcp.json").write_text('{"mcpServers": {"weather": {"command": "/nowhere/server"}}}')
    code, out, err = run(generate.main, "--yes", "-p", ROME)
    assert (code, out) == (1, "")
    assert err.startswith("error: MCP server weather does not start: ")
    assert err.count("\n") == 1


LOOK = Tool(name="look", description="", parameters={}, server="files")


def confirm(call: ToolCall, typed: str, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    return Confirmation(Terminal(show_thought=False), {"look": LOOK})(call)


@pytest.mark.parametrize(
    ("typed", "runs", "questions"),
    [
        ("n\n", False, 1),
        ("n\ny\n", False, 1),
        ("", False, 1),
        ("\nn\n", False, 2),
        ("\n\n", False, 3),
        ("\n\ny\n", True, 3),
        ("y\nyes\na\n", True, 3),
    ],
)
def test_nobody_agrees_to_a_call_they_have_not_seen_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], typed: str, runs: bool, questions: int
) -> None:
    call = ToolCall("look", {"path": "/home", "note": "x" * 4084})  # 4113 characters as JSON
    assert confirm(call, typed, monkeypatch) is runs
    more = " characters more; Enter shows them, [n]o: "
    pages = [
        'run look (server files) {"path": "/home", "note": "' + "x" * 1949 + f"... 2,137{more}",
        "x" * 2000 + f"... 137{more}",
        "x" * 135 + '"}? [y]es, [n]o, [a]lways: ',
    ]  # fmt: skip
    assert capsys.readouterr().err == "".join(pages[:questions])


@pytest.mark.parametrize(
    ("typed", "runs", "again"),
    [
        ("maybe\ny\n", True, 1),
        ("yeah\nok\nalways\n", True, 2),
        ("/exit\nN\n", False, 1),
        ("what?\n\n", False, 1),
        ("maybe\n", False, 1),
    ],
)
def test_what_is_no_answer_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], typed: str, runs: bool, again: int
) -> None:
    assert confirm(ToolCall("look", {}), typed, monkeypatch) is runs
    first = "run look (server files) {}? [y]es, [n]o, [a]lways: "
    assert capsys.readouterr().err == first + "y, n or a? " * again


def test_always_is_no_answer_to_whether_there_is_more(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not confirm(ToolCall("look", {"note": "x" * 4000}), "a\nn\n", monkeypatch)
    assert capsys.readouterr().err.endswith("Enter shows them, [n]o: y or n? ")


def test_a_call_with_hidden_characters_shows_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert confirm(ToolCall("look", {"at": "a\u202e\x9b\u200b\u2067b\u2069\U000e0041\n"}), "y\n", monkeypatch)
    assert capsys.readouterr().err.startswith('run look (server files) {"at": "a????b??\\n"}? ')


def test_a_call_is_shown_as_it_is_but_for_what_moves_the_cursor() -> None:
    assert call_text(ToolCall("run", {"command": "rm  -r\n/\x9b2J\u202e"})) == (
        'run {"command": "rm  -r\\n/?2J?"}'  # JSON escapes the line break
    )
    assert call_text(ToolCall("n" * 207, {})) == "n" * 200 + "... 7 characters more {}"


def test_a_malformed_call_is_in_the_json_with_what_was_told() -> None:
    wrong = MalformedCall("call:f{a:}", "a value should stand where '}' is", "f")
    said = Reply()
    for call in ({"malformed": wrong}, {"call": ToolCall("f", {"a": 1})}):
        figures = {"token": 1, "prompt_tokens": 1, "prompt_tps": 1.0, "generation_tokens": 1, "generation_tps": 1.0}
        said.add(Response(text="", channel="tool", peak_memory=1, **figures, **call))
    said.add_result(ToolResult(wrong.as_call(), "error: no", failed=True))
    said.add_result(ToolResult(ToolCall("f", {"a": 1}), "1"))
    assert said.as_dict()["tool_calls"] == [
        {
            "name": "f",
            "malformed": "call:f{a:}",
            "problem": "a value should stand where '}' is",
            "result": "error: no",
            "failed": True,
        },
        {"name": "f", "arguments": {"a": 1}, "result": "1", "failed": False},
    ]
