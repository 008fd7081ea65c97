"""How a channel or an answer begins: the channel's label, and thoughts and calls whose opening mark is missing.

Apart from reply.py because this looks at text and holds it back until it is decided; reply.py looks at token ids.
"""

import re
from collections.abc import Collection
from typing import Literal

from gemma4_mlx.prompt.calls import find_tool

LABEL = "thought"
"""What the model writes first in a channel."""
OTHER_LABELS = ("thinking", "analysis", "reasoning")
"""Labels that other models write; they count only alone in their line."""

_LABEL = re.compile(rf"\s*(?:{LABEL}(?:[ \t\r]*\n|[ \t]+|$)|(?i:{'|'.join((LABEL, *OTHER_LABELS))})[ \t\r]*\n)")
CALL_BEGINNINGS = ("call:", "<call>", "<tool_call>", "<tool_call:", "<|tool_call>")
"""What a call without its mark begins with; the last in ordinary characters."""
_CALL = re.compile(r"(<\|?tool_call>\s*)?(?:call:|<call>|<tool_call:)?[ ]*([\w./:-]*)[ ]*(.?)", re.DOTALL)
_LONGEST_NAME = 200  # characters
_LOST_LABEL = f"{LABEL}\n"


class ChannelLabel:
    """Takes the label off the text of a channel. What is no label is text, also without a line break."""

    def __init__(self) -> None:
        self._held: str | None = ""

    def feed(self, text: str) -> str:
        """What can be shown by now: nothing while it may be the label."""
        if self._held is None:
            return text
        self._held += text
        word = self._held.strip().lower()
        if any(label.startswith(word) for label in (LABEL, *OTHER_LABELS)) and "\n" not in self._held.lstrip():
            return ""
        return self.finish()

    def finish(self) -> str:
        """The text that was held, without the label."""
        held, self._held = self._held or "", None
        return _LABEL.sub("", held, count=1) if _LABEL.match(held) else held


Beginning = Literal["undecided", "call", "text"]


def beginning(text: str, tools: Collection[str], *, may_think: bool) -> Beginning:
    """What a text is with which an answer or a line begins: a call of a declared tool, text, or not yet told.

    With `may_think` a text that begins with a thought's label in a line of its own stays undecided: whether it is one
    tells the mark that ends it. There a tool's name before its brace may be a call, if it has quoting tokens.
    """
    text = text.lstrip() if may_think else text.lstrip(" \t")
    if may_think and (_LOST_LABEL.startswith(text) or text.startswith(_LOST_LABEL)):
        return "undecided"
    bare = [f"{tool}{{" for tool in tools] if may_think else []
    if tools and any(words.startswith(text) and words != text for words in (*CALL_BEGINNINGS, *bare)):
        return "undecided"
    if text.startswith(tuple(bare)):
        return "call"
    return _beginning_of_call(text, tools) if tools else "text"


def _beginning_of_call(text: str, tools: Collection[str]) -> Beginning:
    match = _CALL.match(text) if text.startswith(CALL_BEGINNINGS) else None
    if match is None or len(match[2]) > _LONGEST_NAME:
        return "text"
    if not match[3]:
        return "undecided"
    is_json = match[1] is not None and not match[2] and match[3] == "{"
    return "call" if is_json or (match[3] in "{(" and find_tool(match[2], tools)) else "text"


def is_lost_thought(text: str) -> bool:
    """Whether a text that a mark follows is a thought without its first mark."""
    return text.strip() == LABEL or text.lstrip().startswith(_LOST_LABEL)
