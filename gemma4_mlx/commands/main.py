"""`gemma4-mlx COMMAND ...`: finds the command; only that one is imported."""

import argparse
import difflib
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path

from gemma4_mlx import __version__
from gemma4_mlx.commands.common import add_debug, run, show
from gemma4_mlx.commands.streams import open_standard_streams
from gemma4_mlx.errors import shortened

COMMANDS: Mapping[str, str] = {
    "chat": "talk with the model in the terminal",
    "generate": "ask one question, get one answer",
    "list": "the models on this machine: size, bits, whether they fit, last use",
    "pull": "download a model; says before how large it is, and whether it fits",
    "rm": "remove a downloaded model",
    "use": "choose the model that is taken if none is named",
    "convert": "make an MLX checkpoint, quantized if you like",
    "bench": "measure speed and memory",
    "doctor": "check that this machine computes what it should",
}
OF_THEIR_OWN = ("chat", "generate", "convert", "bench", "doctor")
"""Commands that are also started as `python -m gemma4_mlx.COMMAND`, and make their own parser."""

EXIT_USAGE = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that is named first; return its exit code."""
    return dispatch(_program(), list(sys.argv[1:] if argv is None else argv))


def dispatch(program: str, words: Sequence[str]) -> int:
    """Run `words`, whose first is a command, as if it was called `program COMMAND`."""
    open_standard_streams()
    name, rest = (words[0], list(words[1:])) if words else ("--help", [])
    if name == "help" and rest:
        name, rest = rest[0], ["--help"]
    if name in ("--help", "-h", "help"):
        return show(usage(program))
    if name in ("--version", "-V"):
        return show(f"gemma4-mlx {__version__}")
    if name not in COMMANDS:
        print(f"error: {_no_command(program, name)}", file=sys.stderr)
        return EXIT_USAGE
    module = import_module(f"gemma4_mlx.commands.{name}")
    if name in OF_THEIR_OWN:
        return int(module.main(rest, f"{program} {name}"))
    parser = argparse.ArgumentParser(prog=f"{program} {name}", description=module.DESCRIPTION)
    module.add_arguments(parser)
    add_debug(parser)
    return run(module.run, parser, rest)


def usage(program: str) -> str:
    """What --help prints."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {what}" for name, what in COMMANDS.items()]
    return "\n".join(
        [
            f"usage: {program} COMMAND ...",
            "",
            "Gemma 4 12B Unified on Apple Silicon: text, images, audio and video in, text out.",
            "",
            *lines,
            "",
            f"{program} COMMAND --help lists a command's options; --version prints the version.",
        ]
    )


def _program() -> str:
    """How the program was called."""
    called = Path(sys.argv[0]).name
    return "python -m gemma4_mlx" if called == "__main__.py" else "gemma4-mlx"


def _no_command(program: str, name: str) -> str:
    close = difflib.get_close_matches(name, COMMANDS, 1)
    if close:
        return f"no command {shortened(name)!r}; did you mean {close[0]}? --help lists all"
    if name.startswith("-"):
        return f"{shortened(name)} comes before a command: {program} COMMAND {shortened(name)}; see --help"
    return f"no command {shortened(name)!r}: to ask something, {program} generate --prompt TEXT; see --help"
