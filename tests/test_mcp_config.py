"""Files of MCP servers as the programs write them that have them."""

import argparse
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from gemma4_mlx.commands.common import NoteHandler
from gemma4_mlx.commands.terminal import Terminal
from gemma4_mlx.commands.tools import open_tools
from gemma4_mlx.errors import LOGGER, GemmaError
from gemma4_mlx.mcp_config import read_servers
from gemma4_mlx.mcp_server import HTTP, SSE, Server
from gemma4_mlx.prompt.calls import ToolCall


def read(folder: Path, content: Any) -> dict[str, Server]:
    (folder / "mcp.json").write_text(json.dumps(content))
    return read_servers(folder / "mcp.json")


@pytest.fixture(autouse=True)
def _variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("TOKEN", "secret")
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.delenv("NOT_SET", raising=False)
    monkeypatch.chdir(tmp_path)


FILES = {
    "Claude Desktop": (
        {"mcpServers": {"fs": {"command": "npx", "args": ["-y", "fs", "/tmp"], "env": {"KEY": "1"}}}},
        Server("npx", ("-y", "fs", "/tmp"), {"KEY": "1"}),
    ),
    "Claude Code, remote": (
        {"mcpServers": {"fs": {"type": "http", "url": "https://a.example/mcp", "headers": {"X-Key": "${TOKEN}"}}}},
        Server("", url="https://a.example/mcp", headers={"X-Key": "secret"}, transport=HTTP),
    ),
    "Claude Code, SSE with a default": (
        {"mcpServers": {"fs": {"type": "sse", "url": "${BASE:-https://a.example}/sse"}}},
        Server("", url="https://a.example/sse", transport=SSE),
    ),
    "Cursor, remote": (
        {"mcpServers": {"fs": {"url": "http://localhost:3000/sse", "headers": {"API_KEY": "value"}}}},
        Server("", url="http://localhost:3000/sse", headers={"API_KEY": "value"}),
    ),
    "Cursor, placeholders": (
        {"mcpServers": {"fs": {"command": "${userHome}${/}bin${pathSeparator}x", "args": ["${env:TOKEN}"]}}},
        Server("/home/me/bin/x", ("secret",)),
    ),
    "VS Code": (
        {"servers": {"fs": {"type": "stdio", "command": "uvx", "cwd": "${workspaceFolder}/a", "dev": {}}}},
        Server("uvx", (), None, "{here}/a"),
    ),
    "VS Code, remote": (
        {"servers": {"fs": {"type": "http", "url": "https://a.example/mcp"}}, "inputs": []},
        Server("", url="https://a.example/mcp", transport=HTTP),
    ),
    "VS Code's settings": ({"mcp": {"servers": {"fs": {"command": "x"}}}}, Server("x")),
    "Windsurf, remote": (
        {"mcpServers": {"fs": {"serverUrl": "https://a.example/mcp", "disabledTools": ["rm"]}}},
        Server("", url="https://a.example/mcp", without=("rm",)),
    ),
    "Cline": (
        {"mcpServers": {"fs": {"command": "x", "disabled": False, "autoApprove": ["look"], "timeout": 60}}},
        Server("x", call_seconds=60.0, unasked=("look",)),
    ),
    "Cline, remote": (
        {"mcpServers": {"fs": {"type": "streamableHttp", "url": "https://a.example/mcp"}}},
        Server("", url="https://a.example/mcp", transport=HTTP),
    ),
    "Roo": (
        {"mcpServers": {"fs": {"type": "streamable-http", "url": "https://a.example/x", "alwaysAllow": ["look"]}}},
        Server("", url="https://a.example/x", transport=HTTP, unasked=("look",)),
    ),
    "Gemini CLI": (
        {"mcpServers": {"fs": {"command": "x", "timeout": 15000, "trust": True, "excludeTools": ["b"]}}},
        Server("x", call_seconds=15.0, without=("b",), unasked=("*",)),
    ),
    "Gemini CLI, remote": (
        {"mcpServers": {"fs": {"httpUrl": "https://a.example/x"}}},
        Server("", url="https://a.example/x", transport=HTTP),
    ),
    "Copilot": (
        {"mcpServers": {"fs": {"type": "local", "command": "x", "args": [], "tools": ["*"]}}},
        Server("x", only=("*",)),
    ),
    "Codex's words": (
        {
            "mcpServers": {
                "fs": {
                    **{"url": "https://a.example/x", "bearer_token_env_var": "TOKEN", "startup_timeout_sec": 20},
                    **{"tool_timeout_sec": 45.5, "enabled": True, "enabled_tools": ["a"], "disabled_tools": ["b"]},
                }
            }
        },
        Server(
            *("",), url="https://a.example/x", headers={"Authorization": "Bearer secret"}, call_seconds=45.5,
            start_seconds=20.0, only=("a",), without=("b",),
        ),
    ),
    "Zed": ({"context_servers": {"fs": {"source": "custom", "command": "x", "args": ["y"]}}}, Server("x", ("y",))),
    "Zed, earlier": (
        {"context_servers": {"fs": {"command": {"path": "x", "args": ["y"], "env": {}}, "settings": {}}}},
        Server("x", ("y",)),
    ),
    "opencode": (
        {"mcp": {"fs": {"type": "local", "command": ["npx", "-y", "x"], "environment": {"A": "b"}, "enabled": True}}},
        Server("npx", ("-y", "x"), {"A": "b"}),
    ),
    "opencode, remote": (
        {"mcp": {"fs": {"type": "remote", "url": "https://a.example/x"}}},
        Server("", url="https://a.example/x"),
    ),
    "tools by name": (
        {"mcpServers": {"fs": {"command": "x", "tools": {"a": True, "b": False, "c": {}, "d": {"disabled": True}}}}},
        Server("x", only=("a", "c")),
    ),
    "nulls": ({"mcpServers": {"fs": {"command": "x", "args": None, "env": None, "url": None, "cwd": ""}}}, Server("x")),
}  # fmt: skip


@pytest.mark.parametrize(("content", "server"), FILES.values(), ids=FILES)
def test_the_forms_of_other_programs(tmp_path: Path, content: Any, server: Server) -> None:
    found = read(tmp_path, content)["fs"]
    if server.cwd is not None:
        assert found.cwd == server.cwd.replace("{here}", str(tmp_path))
        found = Server(found.command, found.args, found.env, server.cwd)
    assert found == server


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${TOKEN}", "secret"),
        ("${env:TOKEN}", "secret"),
        ("a ${TOKEN} b ${TOKEN}", "a secret b secret"),
        ("${NOT_SET:-x y}", "x y"),
        ("${TOKEN:-x}", "secret"),
        ("${EMPTY}", ""),
        ("${EMPTY:-x}", "x"),
        ("${NOT_SET:-}", ""),
        ("$TOKEN", "$TOKEN"),
        ("$(TOKEN)", "$(TOKEN)"),
        ("${", "${"),
    ],
)
def test_placeholders(tmp_path: Path, text: str, value: str) -> None:
    entry = {"command": "x", "args": [text], "env": {"A": text}}
    assert read(tmp_path, {"mcpServers": {"a": entry}})["a"] == Server("x", (value,), {"A": value})


def test_a_placeholder_of_another_program_stays(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    entry = {"command": "x", "args": ["${command:pick}"]}
    assert read(tmp_path, {"mcpServers": {"a": entry}})["a"].args == ("${command:pick}",)
    told = f"{tmp_path}/mcp.json: a: ${{command:pick}} stays as it is written; nothing is put in its place"
    assert [record.getMessage() for record in caplog.records] == [told]


LACKING: list[tuple[dict[str, Any], str]] = [
    ({"command": "x", "disabled": True}, "is disabled"),
    ({"command": "x", "enabled": False}, "is disabled"),
    ({"command": "x", "args": ["${NOT_SET}"]}, "needs the variable NOT_SET, which isn't set"),
    ({"url": "https://a.example", "bearer_token_env_var": "NOT_SET"}, "needs the variable NOT_SET, which isn't set"),
    (
        {"command": "x", "env": {"KEY": "${input:api-key}"}},
        "needs ${input:api-key}, which only VS Code asks for; write ${env:API_KEY} in its place, and set that variable",
    ),
]


@pytest.mark.parametrize(("entry", "why"), LACKING)
def test_what_can_not_be_used_leaves_the_others(
    tmp_path: Path, entry: dict[str, Any], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert read(tmp_path, {"mcpServers": {"a": entry, "b": {"command": "y"}}}) == {"b": Server("y")}
    assert [record.getMessage() for record in caplog.records] == [f"{tmp_path}/mcp.json: a {why}; it is left out"]
    with pytest.raises(GemmaError) as error:
        read(tmp_path, {"mcpServers": {"a": entry}})
    assert str(error.value) == f"{tmp_path}/mcp.json: a {why}"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({}, "a has no command and no url; one of them says how it is reached"),
        ({"url": "ftp://a.example"}, "a: url must begin with http:// or https://, not 'ftp://a.example'"),
        ({"url": "a.example/mcp"}, "a: url must begin with http:// or https://, not 'a.example/mcp'"),
        ({"url": "http://"}, "a: url must begin with http:// or https://"),
        ({"url": "http://a b/"}, "a: url must begin with http:// or https://"),
        ({"url": 3}, "a: url must begin with http:// or https://, not 3"),
        ({"url": "http://a", "headers": []}, "a: headers must be an object of strings"),
        ({"url": "http://a", "headers": {"X": 1}}, "a: headers must be an object of strings"),
        ({"url": "http://a", "headers": {"X Y": "1"}}, "a: the header 'X Y' can't be sent; give one line of text"),
        ({"url": "http://a", "headers": {"X": "1\n2"}}, "a: the header 'X' can't be sent; give one line of text"),
        ({"url": "http://a", "type": "websocket"}, "a: type 'websocket' is unknown; there are stdio, http and sse"),
        ({"command": "x", "transport": 3}, "a: transport 3 is unknown; there are stdio, http and sse"),
        ({"command": "x", "timeout": "5"}, "a: timeout must be a number of seconds, or of milliseconds from 1000 up"),
        ({"command": "x", "timeout": 0}, "a: timeout must be a number of seconds"),
        ({"command": "x", "timeout": True}, "a: timeout must be a number of seconds"),
        ({"command": "x", "includeTools": "look"}, "a: includeTools must be a list of names of tools"),
        ({"command": "x", "autoApprove": [1]}, "a: autoApprove must be a list of names of tools"),
        ({"command": "x", "envFile": "none.env"}, "a: envFile none.env can't be read"),
    ],
)
def test_what_can_not_be_meant(tmp_path: Path, entry: dict[str, Any], message: str) -> None:
    with pytest.raises(GemmaError) as error:
        read(tmp_path, {"mcpServers": {"a": entry}})
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_of_variables(tmp_path: Path) -> None:
    (tmp_path / "x.env").write_text("# keys\nA=1\nexport B='two words'\n\nC=\"3\"\nD=a=b\n#E=5\n")
    entry = {"command": "x", "envFile": "${workspaceFolder}/x.env", "env": {"A": "own"}}
    expected = {"A": "own", "B": "two words", "C": "3", "D": "a=b"}
    assert read(tmp_path, {"servers": {"a": entry}})["a"].env == expected


def test_what_belongs_to_another_kind_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    read(tmp_path, {"mcpServers": {"a": {"url": "http://a", "args": ["x"], "oauth": {}, "description": "?"}}})
    assert [record.getMessage() for record in caplog.records] == [f"{tmp_path}/mcp.json: a: not used: args, oauth"]


# What a file lets be used, with a server that is started


@pytest.mark.parametrize(
    ("rules", "names", "unasked", "notes"),
    [
        ({}, ["tool_0", "tool_1", "tool_2", "tool_10"], [], []),
        ({"includeTools": ["tool_1*"]}, ["tool_1", "tool_10"], [], []),
        ({"disabledTools": ["tool_2"], "alwaysAllow": ["tool_0"]}, ["tool_0", "tool_1", "tool_10"], ["tool_0"], []),
        ({"tools": ["tool_0", "tol"]}, ["tool_0"], [], ["MCP server a has no tool tol, which the file names"]),
        ({"trust": True, "tools": ["tool_0"]}, ["tool_0"], ["tool_0"], []),
        ({"tools": []}, [], [], []),
    ],
)
def test_rules_for_tools(
    tmp_path: Path,
    rules: dict[str, Any],
    names: list[str],
    unasked: list[str],
    notes: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    pytest.importorskip("mcp")
    from gemma4_mlx.mcp import open_servers

    program = str(Path(__file__).parent / "misbehaving.py")
    entry = {"command": sys.executable, "args": [program, "many", "11"], **rules}
    others = [f"tool_{number}" for number in range(3, 10)]
    entry["disabledTools"] = [*rules.get("disabledTools", []), *others]
    with open_servers(read(tmp_path, {"mcpServers": {"a": entry}})) as tools:
        assert [tool.name for tool in tools] == names
        assert [tool.name for tool in tools if tool.runs_unasked] == unasked
    assert [record.getMessage() for record in caplog.records] == notes


def test_nobody_is_asked_for_what_the_file_lets_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mcp")
    program = str(Path(__file__).parent / "misbehaving.py")
    entry = {"command": sys.executable, "args": [program, "many", "2"], "autoApprove": ["tool_1"]}
    (tmp_path / "mcp.json").write_text(json.dumps({"mcpServers": {"a": entry}}))
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    notes = NoteHandler()
    LOGGER.addHandler(notes)
    args = argparse.Namespace(mcp=str(tmp_path / "mcp.json"), yes=False)
    with open_tools(args, Terminal(show_thought=False)) as toolbox:
        assert toolbox.confirm is not None
        assert [toolbox.confirm(ToolCall(f"tool_{number}", {})) for number in (1, 0)] == [True, False]
    LOGGER.removeHandler(notes)
    asked = "run tool_0 (server a) {}? [y]es, [n]o, [a]lways: "
    assert capsys.readouterr().err == f"note: run without a question, as {args.mcp} says: tool_1\n{asked}"


# Servers that can't be started


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (
            lambda _: Server("no-such-program-here"),
            "its command no-such-program-here is not found; install it, or give",
        ),
        (lambda _: Server("/no/such/program"), "there is no program /no/such/program; correct its command"),
        (lambda folder: Server(str(folder)), "its command {folder} is a folder; give the program in it"),
        (lambda folder: Server("true", cwd=str(folder / "no")), "its cwd {folder}/no is no folder; correct it"),
        (
            lambda folder: Server(script(folder, "#!/bin/sh\n", 0o644)),
            "its command {folder}/x may not be run; chmod +x {folder}/x",
        ),
        (
            lambda folder: Server(script(folder, "#!/no/such/shell\n")),
            "the interpreter that the first line of {folder}/x n",
        ),
        (
            lambda folder: Server(script(folder, "echo hi\n")),
            "its command {folder}/x is no program: a script's first line",
        ),
        (lambda folder: Server("./x", cwd=str(folder)), "there is no program ./x; correct its command"),
        (lambda _: Server("x\0y"), "its command x?y "),
    ],
)
def test_a_program_that_can_not_be_started(tmp_path: Path, make: Any, why: str) -> None:
    pytest.importorskip("mcp")
    from gemma4_mlx.mcp import open_servers

    with pytest.raises(GemmaError) as error, open_servers({"bad": make(tmp_path)}):
        pass
    expected = why.replace("{folder}", str(tmp_path))
    assert str(error.value).startswith(f"MCP server bad does not start: {expected}")
    assert "\n" not in str(error.value)


def script(folder: Path, text: str, mode: int = 0o755) -> str:
    (folder / "x").write_text(text)
    os.chmod(folder / "x", mode)
    return str(folder / "x")


LAST_WORDS = {
    "Python": ("Traceback (most recent call last):\nKeyError: 'a'\n\nTraceback\nOSError: full\n", "OSError: full"),
    "Node": (
        "node:internal/modules/cjs/loader:1143\n  throw err;\n  ^\n\nError: Cannot find module '/x.js'\n"
        "    at Module._load (node:1)\n    at node:2 {\n  code: 'MODULE_NOT_FOUND'\n}\n\nNode.js v20.11.0\n",
        "Error: Cannot find module '/x.js'",
    ),
    "npm": (
        "npm error code E404\nnpm error 404 Not Found - GET https://registry.example/x\nnpm error 404\n"
        "npm error A complete log of this run can be found in: /x.log\n",
        "npm error 404 Not Found - GET https://registry.example/x",
    ),
    "plain": ("starting\nno key given\n\n", "no key given"),
    "usage": ("usage: x [-h] KEY\nx: error: arguments are required: KEY\n", "x: error: arguments are required: KEY"),
    "Go": ("panic: no key\n\ngoroutine 1 [running]:\nmain.main()\n\t/x.go:3\nexit status 2\n", "panic: no key"),
}  # fmt: skip


@pytest.mark.parametrize(("stderr", "told"), LAST_WORDS.values(), ids=LAST_WORDS)
def test_the_line_that_tells_most(tmp_path: Path, stderr: str, told: str) -> None:
    pytest.importorskip("mcp")
    from gemma4_mlx.mcp import open_servers

    code = f"import sys; sys.stderr.write({stderr!r}); sys.exit(1)"
    with pytest.raises(GemmaError) as error, open_servers({"bad": Server(sys.executable, ("-c", code))}):
        pass
    assert str(error.value).startswith(f"MCP server bad does not start: {told}")


def test_a_server_that_hangs_is_given_up_with_its_last_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mcp")
    from gemma4_mlx import mcp_server
    from gemma4_mlx.mcp import open_servers

    monkeypatch.setattr(mcp_server, "END_SECONDS", 0.2)
    script(tmp_path, "#!/bin/sh\necho 'open https://a.example to log in' >&2\nexec sleep 60\n")
    server = Server(str(tmp_path / "x"), start_seconds=0.5)
    with pytest.raises(GemmaError) as error, open_servers({"slow": server}):
        pass
    told = "no answer within 0.5 s; its last words are: open https://a.example to log in"
    assert str(error.value) == f"MCP server slow does not start: {told}"
