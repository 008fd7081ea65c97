"""What a line of a chat asks for: a slash command, files that were dropped into the terminal, or a question."""

import difflib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gemma4_mlx.commands import conversation
from gemma4_mlx.commands.attachments import STDIN, expand
from gemma4_mlx.commands.common import is_text
from gemma4_mlx.commands.mentions import (
    Mention,
    find_mentions,
    is_alone,
    is_media_address,
    lone_path,
    named_kind,
    split_paths,
    why_unread,
    with_names,
)
from gemma4_mlx.commands.set_option import ALIASES as SETTING_ALIASES
from gemma4_mlx.commands.set_option import NAMES as SETTINGS
from gemma4_mlx.commands.set_option import change
from gemma4_mlx.errors import GemmaError, UsageError, visible

if TYPE_CHECKING:
    from gemma4_mlx.commands.talk import Chat
    from gemma4_mlx.prompt.prompt import MediaKind

    Files = tuple[tuple[MediaKind, str], ...]

A_SPACE = "a space before it makes it a question"


@dataclass(frozen=True, slots=True)
class Command:
    """A slash command: what follows its name, what it does, the function that does it, and whether a line is all."""

    argument: str
    help: str
    run: "Callable[[Chat, str], None]"
    one_line: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """A command as it was typed."""

    name: str
    argument: str


@dataclass(frozen=True, slots=True)
class Dropped:
    """Files that stand alone on a line."""

    files: "Files"


@dataclass(frozen=True, slots=True)
class Question:
    """A question, the files that it names, and what it names but can't be attached.

    In the text a file's name stands for its path.
    """

    text: str
    files: "Files" = ()
    unread: Sequence[Mention] = ()


def parse(line: str) -> Call | Dropped | Question:
    """What a line asks for. A space before what would be a command or a path makes it a question, unless it is media.

    Raises GemmaError for files alone on a line of which one can't be attached.
    """
    from gemma4_mlx.media.kinds import kind_of

    text, command, spaced = line.strip(), _command(line), line[:1].isspace()
    if command and command.name in COMMANDS:
        return command
    mentions = find_mentions(text) if spaced else _lone(text, command) or find_mentions(text)
    kinds = [kind_of(mention.path) if mention.state == "file" else None for mention in mentions]
    files = tuple(dict.fromkeys((kind, one.path) for kind, one in zip(kinds, mentions, strict=True) if kind))
    unread = tuple(one for kind, one in zip(kinds, mentions, strict=True) if not kind)
    if is_alone(text, mentions) and not (spaced and unread):
        return Dropped(_all_read(files, unread))
    if is_media_address(text):
        return Dropped(((named_kind(text) or "image", text),))
    begins_with_file = any(one.start == 0 and one.state != "missing" for one in mentions)
    if command and not begins_with_file:
        return command
    attached = [one for kind, one in zip(kinds, mentions, strict=True) if kind]
    return Question(with_names(text, attached), files, () if spaced else unread)


def _all_read(files: "Files", unread: Sequence[Mention]) -> "Files":
    """The files, if all can be attached. Raises GemmaError."""
    for mention in unread:
        raise GemmaError(f"{visible(mention.path)}: {why_unread(mention)}")
    return files


def _lone(text: str, command: Call | None) -> list[Mention]:
    """What a line names that is written like a path and leads nowhere; a slash and one word may be a command."""
    lone = lone_path(text)
    if lone and command and "/" not in command.name[1:] and (command.argument or not named_kind(lone.path)):
        return []
    return [lone] if lone and not any(one.state != "missing" for one in find_mentions(text)) else []


def _command(line: str) -> Call | None:
    """What a line would be as a command; None if it isn't written like one."""
    word = line.strip().lower()
    if word in WORDS and not line[:1].isspace():
        return Call(WORDS[word], "")
    if not line.startswith("/"):
        return None
    name, *rest = line.split(maxsplit=1)
    known = ALIASES.get(name.lower(), name.lower())
    return Call(known if known in COMMANDS else name, rest[0].strip() if rest else "")


def entries(message: str) -> list[str]:
    """What is to be followed one by one: the lines of a message if all of them are commands, else the message."""
    lines = [line for line in message.split("\n") if line.strip()]
    calls = [_command(line) if line.startswith("/") else None for line in lines]
    return lines if len(lines) > 1 and all(call and call.name in COMMANDS for call in calls) else [message]


def follow(chat: "Chat", line: str) -> None:
    """Does what a line asks for. Raises GemmaError where it can't."""
    if not is_text(line):
        raise GemmaError("the line is not UTF-8 text")
    asked = parse(line)
    if isinstance(asked, Dropped):
        chat.attach(asked.files)
    elif isinstance(asked, Question):
        _ask(chat, asked)
    elif asked.name in COMMANDS:
        _run(chat, asked)
    elif "/" in asked.name[1:]:
        raise UsageError(f"{visible(asked.name)}: there is no such file; {A_SPACE}")
    else:
        raise UsageError(f"there is no {visible(asked.name)}; {_meant(asked.name)}{A_SPACE}")


def _run(chat: "Chat", call: Call) -> None:
    command = COMMANDS[call.name]
    if call.argument and not command.argument:
        raise UsageError(f"{call.name} takes nothing after it, so it was not done; {A_SPACE}")
    if "\n" in call.argument and command.one_line:
        raise UsageError(f"{call.name} ends with its line, and more lines follow: send them apart")
    command.run(chat, call.argument)


def _meant(name: str) -> str:
    if name[1:] in (*SETTINGS, *SETTING_ALIASES):
        return f"did you mean /set {name[1:]}? "
    near = difflib.get_close_matches(name.lower(), [*COMMANDS, *ALIASES], 1, 0.7)
    return f"did you mean {near[0]}? " if near else "/help lists what there is, "


def _ask(chat: "Chat", asked: Question) -> None:
    for mention in asked.unread:
        chat.terminal.note(f"not attached: {visible(mention.path)}: {why_unread(mention)}")
    if asked.text:
        chat.say(asked.text, asked.files)


def _attach(kind: "MediaKind") -> "Callable[[Chat, str], None]":
    def run(chat: "Chat", argument: str) -> None:
        file, question = _file_and_question(argument)
        if file and question:
            chat.say(question, ((kind, file),))
            return
        words = split_paths(argument) if argument else []
        if not words:
            raise UsageError(f"/{kind} needs a path or an address")
        if STDIN in words:
            raise UsageError(f"/{kind} can't read standard input: the conversation comes from there")
        paths = [str(path) for word in words for path in expand(kind, word)]
        chat.attach([(kind, path) for path in paths], {*paths} - {*words})

    return run


def _file_and_question(argument: str) -> tuple[str, str]:
    """The file that an argument begins with and a question about it, of two words at least; else two empty texts."""
    mentions = find_mentions(argument)
    if len(mentions) != 1 or mentions[0].start or mentions[0].state != "file":
        return "", ""
    question = argument[mentions[0].stop :].strip()
    return (mentions[0].path, question) if " " in question else ("", "")


def _detach(chat: "Chat", _: str) -> None:
    if not chat.pending:
        raise GemmaError("nothing is attached")
    chat.pending = []
    chat.terminal.note("nothing is attached any more")


def _think(chat: "Chat", argument: str) -> None:
    state = f"thinking is {'on' if chat.think else 'off'}; /think on or /think off changes it"
    if argument.lower() not in ("", "on", "off"):
        raise UsageError(state)
    if not argument:
        chat.terminal.note(state)
        return
    chat.think = argument.lower() == "on"
    chat.terminal.note(f"thinking is {argument.lower()}")


def _set(chat: "Chat", argument: str) -> None:
    chat.terminal.note(change(chat, argument))


def _system(chat: "Chat", argument: str) -> None:
    chat.system = argument
    chat.terminal.note("from now on these are the instructions" if argument else "there are no instructions now")


def _file(argument: str, name: str) -> str:
    found = split_paths(argument) if argument else []
    if len(found) != 1:
        raise UsageError(f"{name} needs one file name; put quotes around one with spaces")
    return found[0]


def _save(chat: "Chat", argument: str) -> None:
    path = _file(argument, "/save")
    messages = chat.with_system(chat.messages)
    if not messages:
        raise GemmaError("there is nothing to save yet")
    if not _may_write(chat, path):
        chat.terminal.note("not saved")
        return
    waiting = ", without what is attached but not asked about yet" if chat.pending else ""
    written = conversation.save(messages, path)
    chat.written[written] = _stamp(written)
    chat.terminal.note(f"saved {_count(messages)} in {written}{waiting}")


def _may_write(chat: "Chat", path: str) -> bool:
    """Whether nothing is lost there, or somebody in the terminal says that it may be.

    Raises GemmaError if there is a file that isn't this chat's and nobody can be asked.
    """
    target = _target(path)
    if not target.is_file() or (target, _stamp(target)) in (chat.loaded, *chat.written.items()):
        return True
    if not sys.stdin.isatty():
        raise GemmaError(f"{path}: not saved, as there is a file already; remove it first, or choose another name")
    return (
        chat.terminal.ask(f"{visible(path)} is there already, and not from this chat; overwrite it? [y]es, [n]o: ")
        == "y"
    )


def _count(messages: Sequence[conversation.Message]) -> str:
    return "1 message" if len(messages) == 1 else f"{len(messages)} messages"


def _target(path: str) -> Path:
    """The file that a name leads to, links followed."""
    return Path(os.path.realpath(os.path.expanduser(path)))


def _stamp(path: Path) -> tuple[int, int, int]:
    """What changes with a file."""
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


def _agreed(chat: "Chat", path: str, sources: Sequence[str]) -> bool:
    """Whether somebody in the terminal lets a conversation open these files and addresses."""
    if not sys.stdin.isatty():
        return False
    chat.terminal.note("\n".join([f"{visible(path)} opens what is not in its folder:", *map(visible, sources)]))
    return chat.terminal.ask("open them? [y]es, [n]o: ") == "y"


def _load(chat: "Chat", argument: str) -> None:
    path = _file(argument, "/load")
    target = _target(path)
    loaded = (target, _stamp(target)) if target.is_file() else None
    messages = conversation.load(path, chat.media, lambda outside: _agreed(chat, path, outside))
    system = messages[0] if messages and messages[0]["role"] in ("system", "developer") else None
    if system is not None and not isinstance(system["content"], str):
        raise GemmaError(f"{path}: the system message must be plain text")
    chat.clear()
    chat.loaded = loaded
    chat.system = system["content"] if system else ""
    chat.messages = messages[1:] if system else messages
    they_take = "it takes" if len(messages) == 1 else "they take"
    chat.terminal.note(f"{_count(messages)} of {Path(path).name}; {they_take} the place of what was said here")


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
    "A file that a line names, or that is dropped here, is attached.\n"
    "A backslash at the end of a line, or Alt-Enter, goes on in a new line.\n"
    "Tab completes commands and paths, the arrow keys recall earlier lines.\n"
    "Ctrl-C stops the answer; Ctrl-D ends the chat."
)
COMMANDS = {
    "/image": Command(
        "PATH", "attach a picture, or those of a folder or pattern, to the next question", _attach("image")
    ),
    "/audio": Command("PATH", "attach a sound", _attach("audio")),
    "/video": Command("PATH", "attach a film", _attach("video")),
    "/detach": Command("", "drop what is attached to the next question", _detach),
    "/think": Command("on|off", "let the model think before it answers", _think, one_line=True),
    "/set": Command("NAME VALUE", "change temperature, seed and the like; alone it lists them", _set, one_line=True),
    "/system": Command("TEXT", "instructions for the model; without TEXT none", _system),
    "/retry": Command("", "ask the last question again", _retry),
    "/tokens": Command("", "how long the conversation is, and what it holds in memory", _tokens),
    "/save": Command("FILE", "keep the conversation in a JSON file", _save, one_line=True),
    "/load": Command("FILE", "go on with a conversation that was saved", _load, one_line=True),
    "/clear": Command("", "forget the conversation and what is attached (also /new)", _clear),
    "/help": Command("", "this list (also /?)", _help),
    "/exit": Command("", "end the chat (also exit, quit, /quit, /bye)", _exit),
}
ALIASES = {"/new": "/clear", "/?": "/help", "/quit": "/exit", "/bye": "/exit", "/q": "/exit"}
"""Names that other chats have for the same."""

WORDS = {"exit": "/exit", "quit": "/exit", "exit()": "/exit", "quit()": "/exit", ":q": "/exit"}
"""What ends a chat alone on a line, as people are used to it."""
