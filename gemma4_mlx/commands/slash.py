"""What a line of a chat asks for: a slash command, files that were dropped into the terminal, or a question."""

import os
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from gemma4_mlx.commands import conversation
from gemma4_mlx.commands.common import is_text
from gemma4_mlx.errors import GemmaError, UsageError, visible

if TYPE_CHECKING:
    from gemma4_mlx.commands.talk import Chat
    from gemma4_mlx.prompt.prompt import MediaKind

ENDINGS: "dict[MediaKind, str]" = {
    "image": ".png .jpg .jpeg .webp .gif .bmp .tif .tiff .heic .heif",
    "audio": ".wav .mp3 .flac .ogg .oga .opus .m4a .aac .aif .aiff",
    "video": ".mp4 .mov .m4v .mkv .webm .avi .mpg .mpeg",
}


@dataclass(frozen=True, slots=True)
class Command:
    """A slash command: what follows its name, what it does, and the function that does it."""

    argument: str
    help: str
    run: "Callable[[Chat, str], None]"


@dataclass(frozen=True, slots=True)
class Call:
    """A command as it was typed."""

    name: str
    argument: str


@dataclass(frozen=True, slots=True)
class Dropped:
    """Files that stand alone on a line."""

    files: "tuple[tuple[MediaKind, str], ...]"


def parse(line: str) -> Call | Dropped | str:
    """What a line is. Text that begins with a slash is a command; a space before it makes it a question."""
    found = dropped(line.strip())
    if found is not None:
        return found
    if not line.startswith("/"):
        return line.strip()
    name, *rest = line.split(maxsplit=1)
    return Call(name.lower(), rest[0].strip() if rest else "")


def dropped(line: str) -> Dropped | None:
    """The pictures, sounds and films on a line that holds nothing else; None where it holds anything else."""
    files = [(kind_of(path), path) for path in paths(line)]
    known = tuple((kind, path) for kind, path in files if kind and os.path.isfile(os.path.expanduser(path)))
    return Dropped(known) if files and len(known) == len(files) else None


def paths(text: str) -> list[str]:
    """The paths in what was typed or dropped: quoted, with escaped spaces, as file: addresses, or one just as it is."""
    if os.path.exists(os.path.expanduser(text)):
        return [text]
    try:
        words = shlex.split(text)
    except ValueError:
        words = [text]
    return [unquote(urlsplit(word).path) if word.startswith("file://") else word for word in words]


def kind_of(path: str) -> "MediaKind | None":
    """What a file's name says it is."""
    ending = os.path.splitext(path)[1].lower()
    return next((kind for kind, endings in ENDINGS.items() if ending and ending in endings.split()), None)


def follow(chat: "Chat", line: str) -> None:
    """Does what a line asks for. Raises GemmaError where it can't."""
    if not is_text(line):
        raise GemmaError("the line is not UTF-8 text")
    asked = parse(line)
    if isinstance(asked, Dropped):
        chat.attach(asked.files)
    elif isinstance(asked, str):
        if asked:
            chat.say(asked)
    elif "/" in asked.name[1:]:
        raise UsageError(f"{asked.name}: there is no such picture, sound or film (/image PATH takes any name)")
    elif asked.name not in COMMANDS:
        raise UsageError(f"there is no {asked.name}; /help lists what there is, a space before it makes it a question")
    else:
        COMMANDS[asked.name].run(chat, asked.argument)


def _attach(kind: "MediaKind") -> "Callable[[Chat, str], None]":
    def run(chat: "Chat", argument: str) -> None:
        found = paths(argument) if argument else []
        if not found:
            raise UsageError(f"/{kind} needs a path or an address")
        chat.attach([(kind, path) for path in found])

    return run


def _detach(chat: "Chat", _: str) -> None:
    if not chat.pending:
        raise GemmaError("nothing is attached")
    chat.pending = []
    chat.terminal.note("nothing is attached any more")


def _think(chat: "Chat", argument: str) -> None:
    if argument.lower() not in ("on", "off"):
        raise UsageError(f"/think on or /think off; it is {'on' if chat.think else 'off'} now")
    chat.think = argument.lower() == "on"
    chat.terminal.note(f"thinking is {'on' if chat.think else 'off'}")


def _system(chat: "Chat", argument: str) -> None:
    chat.system = argument
    chat.terminal.note("from now on these are the instructions" if argument else "there are no instructions now")


def _file(argument: str, name: str) -> str:
    found = paths(argument) if argument else []
    if len(found) != 1:
        raise UsageError(f"{name} needs one file name; put quotes around one with spaces")
    return found[0]


def _save(chat: "Chat", argument: str) -> None:
    path = _file(argument, "/save")
    messages = chat.with_system(chat.messages)
    if not messages:
        raise GemmaError("there is nothing to save yet")
    waiting = ", without what is attached but not asked about yet" if chat.pending else ""
    chat.terminal.note(f"saved {len(messages)} messages in {conversation.save(messages, path)}{waiting}")


def _agreed(chat: "Chat", path: str, sources: Sequence[str]) -> bool:
    """Whether somebody in the terminal lets a conversation open these files and addresses."""
    if not sys.stdin.isatty():
        return False
    chat.terminal.note("\n".join([f"{visible(path)} opens what is not in its folder:", *map(visible, sources)]))
    return chat.terminal.ask("open them? [y]es, [n]o: ") in ("y", "yes")


def _load(chat: "Chat", argument: str) -> None:
    path = _file(argument, "/load")
    messages = conversation.load(path, chat.media, lambda outside: _agreed(chat, path, outside))
    system = messages[0] if messages and messages[0]["role"] in ("system", "developer") else None
    if system is not None and not isinstance(system["content"], str):
        raise GemmaError(f"{path}: the system message must be plain text")
    chat.clear()
    chat.system = system["content"] if system else ""
    chat.messages = messages[1:] if system else messages
    chat.terminal.note(f"{len(messages)} messages of {Path(path).name}; they take the place of what was said here")


def _clear(chat: "Chat", _: str) -> None:
    chat.clear()
    kept = " (the instructions of /system stay)" if chat.system else ""
    chat.terminal.note(f"everything said and attached is forgotten{kept}")


def _retry(chat: "Chat", _: str) -> None:
    chat.retry()


def _tokens(chat: "Chat", _: str) -> None:
    chat.terminal.note(chat.usage())


def _help(chat: "Chat", _: str) -> None:
    names = {name: f"{name} {command.argument}" for name, command in COMMANDS.items()}
    width = max(len(name) for name in names.values())
    lines = [f"{names[name]:<{width}}  {command.help}" for name, command in COMMANDS.items()]
    chat.terminal.note("\n".join([*lines, MORE_HELP]))


def _exit(chat: "Chat", _: str) -> None:
    chat.over = True


MORE_HELP = (
    "A file dropped here is attached. A backslash at the end of a line, or Alt-Enter, goes on in a new line.\n"
    "Ctrl-C stops the answer; Ctrl-D ends the chat."
)
COMMANDS = {
    "/image": Command("PATH", "attach a picture to the next question", _attach("image")),
    "/audio": Command("PATH", "attach a sound", _attach("audio")),
    "/video": Command("PATH", "attach a film", _attach("video")),
    "/detach": Command("", "drop what is attached to the next question", _detach),
    "/think": Command("on|off", "let the model think before it answers", _think),
    "/system": Command("TEXT", "instructions for the model; without TEXT none", _system),
    "/retry": Command("", "ask the last question again", _retry),
    "/tokens": Command("", "how long the conversation is, and what it holds in memory", _tokens),
    "/save": Command("FILE", "keep the conversation in a JSON file", _save),
    "/load": Command("FILE", "go on with a conversation that was saved", _load),
    "/clear": Command("", "forget the conversation and what is attached", _clear),
    "/help": Command("", "this list", _help),
    "/exit": Command("", "end the chat", _exit),
}
