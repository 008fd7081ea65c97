"""The options of the reply that /set changes while a chat goes on."""

import difflib
import json
from typing import TYPE_CHECKING, Any

from gemma4_mlx.errors import UsageError, visible

if TYPE_CHECKING:
    from gemma4_mlx.commands.talk import Chat

NUMBERS = {
    "temperature": float,
    "top_p": float,
    "top_k": int,
    "min_p": float,
    "repetition_penalty": float,
    "seed": int,
    "max_tokens": int,
    "thinking_budget": int,
}
NAMES = (*NUMBERS, "stop")
ALIASES = {
    "temp": "temperature",
    "t": "temperature",
    "repeat_penalty": "repetition_penalty",
    "num_predict": "max_tokens",
    "max_new_tokens": "max_tokens",
    "n_predict": "max_tokens",
    "stop_sequences": "stop",
}
"""What other programs call the same."""

ELSEWHERE = {
    **dict.fromkeys(("think", "thinking", "nothink", "enable_thinking"), "/think on or /think off"),
    **dict.fromkeys(("system", "instructions"), "/system TEXT"),
    **dict.fromkeys(("history", "nohistory"), "--no-history when the chat is started"),
    **dict.fromkeys(("num_ctx", "max_kv_size", "context"), "--max-kv-size when the chat is started"),
    **{name: f"--{name.replace('_', '-')} when the chat is started" for name in ("kv_bits", "model", "image_tokens")},
}
UNSET = ("default", "none", "unset")
GREEDY = ("top_p", "top_k", "min_p", "seed")
"""What changes nothing at temperature 0."""


def settings(chat: "Chat") -> str:
    """All options with their values, a line each."""
    width = max(map(len, NAMES))
    return "\n".join(f"{name:<{width}}  {shown(getattr(chat.options, name))}" for name in NAMES)


def change(chat: "Chat", argument: str) -> str:
    """Do what follows /set; return what is said of it. Raises UsageError for a wrong name or value."""
    words = argument.replace("=", " ", 1).split(maxsplit=1)
    if words and words[0].lower() in ("parameter", "param") and len(words) > 1:
        words = words[1].replace("=", " ", 1).split(maxsplit=1)
    if not words:
        return settings(chat)
    name = _known(words[0])
    if len(words) > 1:
        _set(chat, name, _value(name, words[1].strip()))
    return f"{name} is {shown(getattr(chat.options, name))}{_effect(chat, name) if len(words) > 1 else ''}"


def _set(chat: "Chat", name: str, value: Any) -> None:
    try:
        chat.set_option(name, value)
    except UsageError as error:
        raise UsageError(str(error)) from None  # whose names are those of /set, not flags


def shown(value: Any) -> str:
    """A value as it can be typed again."""
    if isinstance(value, (tuple, list)):
        return " ".join(json.dumps(text, ensure_ascii=False) for text in value) or "none"
    return "none" if value is None else str(value)


def _known(word: str) -> str:
    name = word.lower().lstrip("-").replace("-", "_")
    name = ALIASES.get(name, name)
    if name in NAMES:
        return name
    if name in ELSEWHERE:
        raise UsageError(f"/set has no {visible(word)}: that is {ELSEWHERE[name]}")
    near = difflib.get_close_matches(name, [*NAMES, *ALIASES], 1)
    cure = f"did you mean {ALIASES.get(near[0], near[0])}?" if near else f"it sets {', '.join(NAMES)}"
    raise UsageError(f"/set has no {visible(word)}; {cure}")


def _value(name: str, text: str) -> Any:
    """The value that was typed; None for the one that the checkpoint has."""
    if text.lower() in UNSET:
        return None
    if name == "stop":
        return _texts(text)
    try:
        return NUMBERS[name](text)
    except ValueError:
        kind = "a whole number" if NUMBERS[name] is int else "a number such as 0.3"
        raise UsageError(f"{name} must be {kind}, or default, not {visible(text)}") from None


def _texts(text: str) -> list[str]:
    """One text as it is typed, or several and line breaks as a JSON list or string."""
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    texts = value if isinstance(value, list) else [value if isinstance(value, str) else text]
    if not all(isinstance(one, str) and one for one in texts):
        raise UsageError('stop must be a text, or a JSON list of texts such as ["END", "\\n"]')
    return texts


def _effect(chat: "Chat", name: str) -> str:
    if name in GREEDY and chat.options.temperature == 0:
        return "; it has no effect at temperature 0"
    if name == "thinking_budget" and not chat.think:
        return "; it has no effect before /think on"
    return ""
