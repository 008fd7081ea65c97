"""Characters that do not show: which of them a text may hold, and how the others are made to show.

A terminal obeys control characters, and people read neither what has no width nor what reorders a line. Emoji are built
with such characters, and words of some scripts are spelt with them: there they stay.
"""

import re
from collections.abc import Callable

# Controls, formats, line separators, halves of characters, and what is ignorable by default; not line break and tab.
_HIDDEN = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u070f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U00013430-\U00013440\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
# Scripts whose letters join or change at U+200C and U+200D: Arabic and its kin, those of India and South-East Asia.
_JOINING = (
    "\u0600-\u061b\u061d-\u070e\u0710-\u08ff\u0900-\u0dff\u0f00-\u109f\u1700-\u17b3\u17b6-\u180a\u1810-\u18af\u1a00-\u1bff"
    "\ua800-\uabff\ufb50-\ufdff\ufe70-\ufefe\U00010a00-\U00010fff\U00011000-\U00011fff\U0001e900-\U0001e95f"
)
_RIGHT_TO_LEFT = "\u0590-\u061b\u061d-\u08ff\ufb1d-\ufdff\ufe70-\ufefe"
_EMOJI = "\u00a9\u00ae\u203c-\u205f\u2070-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001fbff"
_SKIN = "\U0001f3fb-\U0001f3ff"
_PART = f"[{_EMOJI}](?:\ufe0f|[{_SKIN}])?\u20e3?"
_TAGS = {ord(letter): 0xE0000 + ord(letter) for letter in "abcdefghijklmnopqrstuvwxyz"}
_FLAGS = "|".join(name.translate(_TAGS) for name in ("gbeng", "gbsct", "gbwls"))

_SPELT = "|".join(
    (
        f"\U0001f3f4(?:{_FLAGS})\U000e007f",
        f"{_PART}(?:\u200d{_PART})*",
        "[0-9#*]\ufe0f\u20e3",
        f"(?<=[{_EMOJI}])\ufe0e",
        f"(?<=[{_JOINING}])[\u200c\u200d]",
        f"(?<=[^\\W{_HIDDEN}])\u200c(?=[{_JOINING}])",
        f"(?<=[{_RIGHT_TO_LEFT}])[\u200e\u200f\u061c]|[\u200e\u200f\u061c](?=[{_RIGHT_TO_LEFT}])",
        "(?<=[\u1800-\u180a\u1810-\u18af])[\u180b-\u180d\u180f]",
        "(?<=[\u0591-\u05c7])\u034f",
        "(?<=[\u2200-\u22ff\u3000-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uff60])[\ufe00-\ufe02]",
        "(?<=[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])[\U000e0100-\U000e01ef]",
    )
)
_ISOLATED = "[\u2066-\u2068][^\n\u2066-\u2069]{0,200}\u2069"
_STRICT = re.compile(f"(?P<hidden>(?!{_SPELT})[{_HIDDEN}])|{_SPELT}")
_LENIENT = re.compile(f"(?P<isolated>{_ISOLATED})|(?P<hidden>(?!{_SPELT})[{_HIDDEN}])|{_SPELT}")
_UNDECIDED = re.compile(
    f"(?:[\u2066-\u2068][^\n\u2066-\u2069]{{0,200}}|(?:(?![\x00-\x1f\u2066-\u2069])[{_HIDDEN}]){{1,32}})\\Z"
)

CONTEXT = 64
"""Characters before one that may decide whether it stays."""


def replace_hidden(text: str, replacement: Callable[[str], str], isolates: bool = False) -> str:
    """Text with a replacement for each character that does not show, but where emoji and words are spelt with it.

    With `isolates` a direction that is set for a part of one line stays, if its end is there and no other is within.
    """

    def replaced(match: re.Match[str]) -> str:
        if match.lastgroup == "hidden":
            return replacement(match[0])
        if match.lastgroup == "isolated":
            return match[0][0] + replace_hidden(match[0][1:-1], replacement) + match[0][-1]
        return match[0]

    return (_LENIENT if isolates else _STRICT).sub(replaced, text)


def symbol(character: str) -> str:
    """What stands for a hidden character on a screen: the symbol of a control character, else the usual one."""
    return chr(0x2400 + ord(character)) if character < " " else "\ufffd"


def escaped(character: str) -> str:
    r"""A character as JSON escapes it: \uXXXX, twice beyond U+FFFF."""
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))


class ShownStream:
    """Text that comes in pieces, as a screen may show it. What the next piece decides is held back for it."""

    def __init__(self) -> None:
        self._before, self._held = "", ""

    def feed(self, text: str) -> str:
        """What can be shown by now."""
        text = self._held + text
        undecided = _UNDECIDED.search(text)
        end = undecided.start() if undecided else len(text)
        self._held = text[end:]
        return self._show(text[:end])

    def end(self) -> str:
        """What was held back; the next text begins anew."""
        rest = self._show(self._held)
        self._before, self._held = "", ""
        return rest

    def _show(self, text: str) -> str:
        """The text, read after what came before it: each character becomes one."""
        whole = self._before + text
        shown = replace_hidden(whole, symbol, isolates=True)[len(self._before) :]
        self._before = whole[-CONTEXT:]
        return shown
