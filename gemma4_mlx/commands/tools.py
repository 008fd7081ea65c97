"""Tools at the command line: started as an mcp.json says, shown as they are called, run once somebody agrees."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gemma4_mlx.errors import UsageError, visible

if TYPE_CHECKING:
    from gemma4_mlx.commands.terminal import Terminal
    from gemma4_mlx.prompt.calls import ToolCall
    from gemma4_mlx.prompt.tools import Tool


@dataclass(frozen=True, slots=True)
class Toolbox:
    """The tools that a model may call, and who is asked before one runs (None for nobody)."""

    tools: "dict[str, Tool]" = field(default_factory=dict)
    confirm: "Callable[[ToolCall], bool] | None" = None

    @property
    def declarations(self) -> list[dict[str, object]]:
        """What the chat template is given."""
        return [tool.declaration() for tool in self.tools.values()]


def add_tool_options(parser: argparse.ArgumentParser) -> None:
    """Adds what `open_tools` reads, and the part of `reply_options` that is about tools."""
    group = parser.add_argument_group("tools")
    group.add_argument("--mcp", metavar="FILE", help="let the model call tools of the MCP servers in this mcp.json")
    group.add_argument("--yes", action="store_true", help="run tools without asking")
    group.add_argument(
        "--no-constrain-calls",
        action="store_false",
        dest="constrain_calls",
        default=None,
        help="do not keep calls to the tools' names and schemas while they are written",
    )


def check_tool_usage(args: argparse.Namespace) -> None:
    """Raises UsageError where somebody is to be asked and nobody is there."""
    if args.mcp is not None and not args.yes and not sys.stdin.isatty():
        raise UsageError("--mcp asks before a tool runs, and standard input is no terminal: --yes runs them unasked")


@contextmanager
def open_tools(args: argparse.Namespace, terminal: "Terminal") -> "Iterator[Toolbox]":
    """The tools that the command line names; their servers run until the end."""
    if args.mcp is None:
        yield Toolbox()
        return
    from gemma4_mlx.mcp import open_servers, read_servers
    from gemma4_mlx.prompt.tools import read_tools

    terminal.status("starting the tools")
    with open_servers(read_servers(args.mcp)) as tools:
        yield Toolbox(read_tools(tools), None if args.yes else Confirmation(terminal))


def call_text(call: "ToolCall") -> str:
    """A call as people read it: its name and the beginning of its arguments, in one line."""
    return f"{beginning(call.name, 200)} {beginning(json.dumps(call.arguments, ensure_ascii=False), 2000)}"


def beginning(text: str, length: int) -> str:
    """The first `length` characters in one line without control characters, and how many more there are."""
    line = visible(text)
    return line if len(line) <= length else f"{line[:length]}... {len(line) - length:,} characters more"


class Confirmation:
    """Asks on the terminal before a tool runs. "a" allows every later call of the same tool."""

    def __init__(self, terminal: "Terminal") -> None:
        self._terminal = terminal
        self._allowed: set[str] = set()

    def __call__(self, call: "ToolCall") -> bool:
        if call.name in self._allowed:
            return True
        self._terminal.end()
        print(f"run {call_text(call)}? [y]es, [n]o, [a]lways: ", end="", file=sys.stderr, flush=True)
        said = sys.stdin.readline().strip().lower()
        if said in ("a", "always"):
            self._allowed.add(call.name)
        return said in ("y", "yes", "a", "always")
