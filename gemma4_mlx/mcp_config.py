"""Files that list MCP servers, in the forms of the programs that have them -> how each server is reached.

Its own file because a form of a file is no way of talking to a server. Claude Desktop, Cursor, Windsurf, Cline, LM
Studio and Gemini CLI have `mcpServers`, VS Code `servers` (in its settings below `mcp`), Zed `context_servers`,
opencode `mcp`.
"""

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gemma4_mlx.errors import GemmaError, note, shortened
from gemma4_mlx.files import read_given_json
from gemma4_mlx.mcp_server import HTTP, SSE, Server

MAX_SERVERS = 64
LONGEST_SERVER_NAME = 100  # characters
LISTS = (("mcpServers",), ("servers",), ("mcp", "servers"), ("context_servers",), ("mcp",))
"""Where a file has its servers."""

ADDRESSES = ("url", "httpUrl", "serverUrl")
ENVIRONMENT, FOLDER = ("env", "environment"), ("cwd", "workingDirectory", "working_directory")
HEADERS = ("headers", "http_headers")
ONLY = ("includeTools", "enabledTools", "enabled_tools", "allowedTools", "allowed_tools", "tools")
WITHOUT = ("excludeTools", "disabledTools", "disabled_tools")
UNASKED = ("alwaysAllow", "autoApprove", "auto_approve")
CALL_TIME, START_TIME = ("timeout", "tool_timeout_sec"), ("startup_timeout_sec", "startupTimeout", "initTimeout")
TOKEN_VARIABLE = "bearer_token_env_var"
SWITCHES = ("disabled", "enabled", "trust")
KINDS: Mapping[str, str | None] = {
    **{"stdio": None, "local": None, "http": HTTP, "streamable-http": HTTP, "streamablehttp": HTTP},
    **{"streamable_http": HTTP, "sse": SSE, "remote": None},
}
"""Words for ways to reach a server, in small letters; None leaves it to what else is said."""

USED = {
    *("command", "args", *ENVIRONMENT, *FOLDER, "envFile", *ADDRESSES, *HEADERS, TOKEN_VARIABLE, *SWITCHES),
    *(*ONLY, *WITHOUT, *UNASKED, *CALL_TIME, *START_TIME, "type", "transport", "transportType"),
}
ABOUT = {"name", "description", "$schema", "icon", "iconUrl", "gallery", "version", "source", "dev", "note", "comment"}
"""Entries that are about a server, and change nothing of how it is run."""

MILLISECONDS = 1000
"""From here up a time is in milliseconds: some programs write them, others seconds."""

PLACEHOLDER = re.compile(r"\$\{([^{}]*)\}")
VARIABLE = re.compile(r"(?:env:)?([A-Za-z_]\w*)(?::-(.*))?", re.ASCII | re.DOTALL)
"""${NAME}, ${NAME:-default} and ${env:NAME}."""


def read_servers(path: str | Path) -> dict[str, Server]:
    """The servers of a file by their names.

    Those that are disabled, or that can't be used here, are left out with a note if there are others. Raises GemmaError
    if it is another file, or has no server that can be used.
    """
    entries = _entries(str(path), read_given_json(path, str(path), pairs=_distinct))
    if not entries:
        note(f"{path}: no servers there, so there are no tools")
    if len(entries) > MAX_SERVERS:
        raise GemmaError(f"{path}: {len(entries)} servers; at most {MAX_SERVERS} are started")
    servers, left_out = {}, {}
    for name, entry in entries.items():
        try:
            servers[name] = _Entry(str(path), name, entry).server()
        except _UnusableError as error:
            left_out[name] = str(error)
    if entries and len(left_out) == len(entries):
        name, why = next(iter(left_out.items()))
        raise GemmaError(f"{path}: {shortened(name)} {why}")
    for name, why in left_out.items():
        note(f"{path}: {shortened(name)} {why}; it is left out")
    return servers


class _UnusableError(Exception):
    """Why a server can't be used though nothing is wrong with its entry."""


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON. Raises ValueError if a name in it stands for two things: one would hide the other."""
    twice = [name for name, times in Counter(name for name, _ in pairs).items() if times > 1]
    if twice:
        raise ValueError(f"{shortened(twice[0])} is there twice; rename one")
    return dict(pairs)


def _entries(path: str, content: Any) -> Mapping[str, Any]:
    """The entries of servers by their names. Raise GemmaError if there is no list of servers."""
    for keys in LISTS:
        found = content
        for key in keys:
            found = found.get(key) if isinstance(found, dict) else None
        if isinstance(found, dict):
            return found
    form = '{"mcpServers": {"NAME": {"command": "...", "args": ["..."]}}}, or "url" in place of "command"'
    raise GemmaError(f"{path}: expected {form}")


def _check_usable(entry: Any) -> None:
    """Raise _UnusableError for a server that is switched off, or waits for what only another program asks for."""
    if not isinstance(entry, dict):
        return
    if entry.get("disabled") is True or entry.get("enabled") is False:
        raise _UnusableError("is disabled")
    asked = sorted({name for name in PLACEHOLDER.findall(str(entry)) if name.startswith("input:")})
    if asked:
        variable = f"${{env:{re.sub(r'[^A-Za-z0-9]', '_', asked[0][6:]).upper()}}}"
        raise _UnusableError(
            f"needs ${{{asked[0]}}}, which only VS Code asks for; write {variable} in its place, and set that variable"
        )


class _Entry:
    """One server's entry.

    Its methods raise GemmaError, which names file and server, for what can't be meant; _UnusableError for what can't be
    used though it is right.
    """

    def __init__(self, path: str, name: str, entry: Any) -> None:
        self._where, self._name = f"{path}: {shortened(name)}", name
        self._entry: Any = entry

    def server(self) -> Server:
        """How the server is reached, and what of it may be used."""
        _check_usable(self._entry)
        self._check_name()
        kind = self._kind()
        command, args = self._command()
        address = None if command else self._address()
        if command is None and address is None:
            raise GemmaError(f"{self._where} has no command and no url; one of them says how it is reached")
        self._note_unused(address is not None)
        return Server(
            command or "",
            args,
            self._environment() if command else None,
            self._text(FOLDER) if command else None,
            url=address,
            headers={} if command else self._headers(),
            transport=SSE if kind == SSE else HTTP if kind == HTTP or self._has("httpUrl") else None,
            call_seconds=self._seconds(CALL_TIME),
            start_seconds=self._seconds(START_TIME),
            only=self._names(ONLY),
            without=self._names(WITHOUT) or (),
            unasked=("*",) if self._entry.get("trust") is True else self._names(UNASKED) or (),
        )

    def _check_name(self) -> None:
        name = self._name
        if not name.strip() or not name.isprintable() or set(name) & set("{}") or len(name) > LONGEST_SERVER_NAME:
            raise GemmaError(
                f"{self._where}: a server's name has 1 to {LONGEST_SERVER_NAME} visible characters, and no braces"
            )
        if not isinstance(self._entry, dict):
            raise GemmaError(f"{self._where} has no command and no url; one of them says how it is reached")

    def _has(self, key: str) -> bool:
        return self._entry.get(key) is not None

    def _first(self, keys: Iterable[str]) -> tuple[str, Any]:
        """The first of these entries that is there, and its value; None if none is."""
        return next(((key, self._entry[key]) for key in keys if self._has(key)), ("", None))

    def _kind(self) -> str | None:
        key, kind = self._first(("type", "transport", "transportType"))
        if kind is not None and (not isinstance(kind, str) or kind.lower() not in KINDS):
            raise GemmaError(f"{self._where}: {key} {shortened(repr(kind))} is unknown; there are stdio, http and sse")
        return KINDS[kind.lower()] if kind else None

    def _command(self) -> tuple[str | None, tuple[str, ...]]:
        command: Any = self._entry.get("command")
        args: Any = self._entry.get("args") or []
        if isinstance(command, dict):  # as Zed had it
            command, args = command.get("path"), command.get("args") or []
        if isinstance(command, list) and all(isinstance(word, str) for word in command) and command:
            command, args = command[0], [*command[1:], *args]
        if command is None:
            return None, ()
        if not isinstance(command, str) or not command.strip():
            raise GemmaError(f"{self._where} has no command: it must be the name or the path of a program")
        if not isinstance(args, list) or not all(isinstance(arg, str) for arg in args):
            raise GemmaError(f"{self._where}: args must be a list of strings")
        return self._word(command), tuple(map(self._word, args))

    def _environment(self) -> Mapping[str, str] | None:
        given = self._strings(ENVIRONMENT)
        if any("=" in name or not name or "\0" in name for name in given or {}):
            raise GemmaError(f"{self._where}: no program can be given a variable whose name is empty or has =")
        own = {name: self._word(value) for name, value in (given or {}).items()}
        file = self._text(("envFile",))
        return own if given is not None and file is None else {**self._from_file(file), **own} if file else None

    def _from_file(self, file: str) -> Mapping[str, str]:
        """The variables of a file of lines NAME=VALUE."""
        try:
            lines = Path(file).expanduser().read_text().splitlines()
        except (OSError, ValueError, RuntimeError) as error:
            raise GemmaError(f"{self._where}: envFile {shortened(file)} can't be read ({error})") from None
        pairs = [line.strip().removeprefix("export ").partition("=") for line in lines if "=" in line]
        return {name.strip(): _unquoted(value.strip()) for name, _, value in pairs if not name.startswith("#")}

    def _address(self) -> str | None:
        key, address = self._first(ADDRESSES)
        if address is None:
            return None
        text = self._word(address) if isinstance(address, str) else ""
        parts = urlsplit(text)
        if parts.scheme not in ("http", "https") or not parts.hostname or not text.isprintable() or " " in text:
            raise GemmaError(
                f"{self._where}: {key} must begin with http:// or https://, not {shortened(repr(address))}"
            )
        return text

    def _headers(self) -> Mapping[str, str]:
        given = self._strings(HEADERS)
        headers = {name: self._word(value).strip() for name, value in (given or {}).items()}
        variable = self._text((TOKEN_VARIABLE,))
        if variable is not None:
            headers.setdefault("Authorization", f"Bearer {self._variable(variable, None)}")
        for name, value in headers.items():
            if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or not value.isprintable():
                raise GemmaError(
                    f"{self._where}: the header {shortened(repr(name))} can't be sent; give one line of text"
                )
        return headers

    def _strings(self, keys: Iterable[str]) -> Mapping[str, str] | None:
        """An object of strings, None if there is none."""
        key, given = self._first(keys)
        if given is None or (isinstance(given, dict) and all(isinstance(value, str) for value in given.values())):
            return given
        raise GemmaError(f"{self._where}: {key} must be an object of strings")

    def _text(self, keys: Iterable[str]) -> str | None:
        """A text, None for none or an empty one."""
        key, value = self._first(keys)
        if value is not None and not isinstance(value, str):
            raise GemmaError(f"{self._where}: {key} must be {'a path' if key == 'cwd' else 'text'}")
        return self._word(value) if value else None

    def _seconds(self, keys: Iterable[str]) -> float | None:
        key, value = self._first(keys)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
            raise GemmaError(f"{self._where}: {key} must be a number of seconds, or of milliseconds from 1000 up")
        return value / 1000 if value >= MILLISECONDS else float(value)

    def _names(self, keys: Iterable[str]) -> tuple[str, ...] | None:
        """Names of tools, None if nothing is said: a list, or an object that says of each whether it is on."""
        key, value = self._first(keys)
        if isinstance(value, dict):
            value = [name for name, on in value.items() if on is True or (isinstance(on, dict) and _is_on(on))]
        if value is not None and not (isinstance(value, list) and all(isinstance(name, str) for name in value)):
            raise GemmaError(f"{self._where}: {key} must be a list of names of tools")
        return None if value is None else tuple(value)

    def _note_unused(self, is_remote: bool) -> None:
        other = {"args", *ENVIRONMENT, *FOLDER, "envFile"} if is_remote else {*ADDRESSES, *HEADERS, TOKEN_VARIABLE}
        unused = sorted(key for key in self._entry if key not in USED - other | ABOUT)
        if unused:
            note(f"{self._where}: not used: {shortened(', '.join(unused))}")

    def _word(self, text: str) -> str:
        """A text with the values of its placeholders."""
        if "\0" in text:
            raise GemmaError(f"{self._where}: no program can be given what has a zero character")
        return PLACEHOLDER.sub(self._value, text)

    def _value(self, found: re.Match[str]) -> str:
        known = {
            "workspaceFolder": os.getcwd(),
            "userHome": os.path.expanduser("~"),
            "pathSeparator": os.sep,
            "/": os.sep,
        }
        known["workspaceFolderBasename"] = os.path.basename(os.getcwd())
        if found[1] in known:
            return known[found[1]]
        variable = VARIABLE.fullmatch(found[1])
        if variable is None:
            note(f"{self._where}: {shortened(found[0])} stays as it is written; nothing is put in its place")
            return found[0]
        return self._variable(variable[1], variable[2])

    def _variable(self, name: str, default: str | None) -> str:
        value = os.environ.get(name)
        if default is not None:
            return value or default
        if value is None:
            raise _UnusableError(f"needs the variable {name}, which isn't set")
        return value


def _is_on(entry: Mapping[str, Any]) -> bool:
    return entry.get("enabled") is not False and entry.get("disabled") is not True


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"" else value
