"""Tools at the command line: started as an mcp.json says, shown as they are called, run once somebody agrees."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gemma4_mlx.errors import UsageError, note, shortened, visible

if TYPE_CHECKING:
    from gemma4_mlx.commands.terminal import Terminal
    from gemma4_mlx.prompt.calls import ToolCall
    from gemma4_mlx.prompt.tools import Tool

PAGE = 2000
"""Characters of a call that are shown at once."""


ANSWERS = ("yes", "no", "always")


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
    from gemma4_mlx.mcp import open_servers
    from gemma4_mlx.mcp_config import read_servers
    from gemma4_mlx.prompt.tools import read_tools

    terminal.status("starting the tools")
    with open_servers(read_servers(args.mcp)) as tools:
        toolbox = read_tools(tools)
        unasked = [name for name, tool in toolbox.items() if tool.runs_unasked]
        if unasked and not args.yes:
            note(f"run without a question, as {args.mcp} says: {shortened(', '.join(unasked))}")
        yield Toolbox(toolbox, None if args.yes else Confirmation(terminal, toolbox))


def longest_result(context: int) -> int:
    """Characters of one result that a context of so many tokens has room for, even if every one takes a token."""
    from gemma4_mlx.agent import LONGEST_RESULT

    return max(1, min(LONGEST_RESULT, context // 8))


def call_text(call: "ToolCall") -> str:
    """A call as people read it: its name and the beginning of its arguments, in one line."""
    return f"{beginning(call.name, 200)} {beginning(json.dumps(call.arguments, ensure_ascii=False), 2000)}"


def beginning(text: str, length: int) -> str:
    """The first `length` characters in one line without control characters, and how many more there are."""
    line = visible(text)
    return line if len(line) <= length else f"{line[:length]}... {len(line) - length:,} characters more"


class Confirmation:
    """Asks on the terminal before a tool runs. "a" allows every later call of the same tool.

    The whole call is shown, page by page if it is long: nobody agrees to what they have not seen.
    """

    def __init__(self, terminal: "Terminal", tools: "Mapping[str, Tool]") -> None:
        self._terminal, self._tools = terminal, tools
        self._allowed: set[str] = set()

    def __call__(self, call: "ToolCall") -> bool:
        tool = self._tools.get(call.name)
        if call.name in self._allowed or (tool and tool.runs_unasked):
            return True
        text = self._whole(call)
        for end in range(PAGE, len(text), PAGE):
            more = f"... {len(text) - end:,} characters more; Enter shows them, [n]o: "
            if self._terminal.ask(f"{text[end - PAGE : end]}{more}") == "n":
                return False
        said = self._terminal.ask(f"{text[(len(text) - 1) // PAGE * PAGE :]}? [y]es, [n]o, [a]lways: ", ANSWERS)
        if said == "a":
            self._allowed.add(call.name)
        return said in ("y", "a")

    def _whole(self, call: "ToolCall") -> str:
        """What is asked: the tool, its server and all arguments, in one line without hidden characters."""
        tool = self._tools.get(call.name)
        server = f" (server {tool.server})" if tool and tool.server else ""
        return visible(f"run {call.name}{server} {json.dumps(call.arguments, ensure_ascii=False)}")
