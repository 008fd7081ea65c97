"""Regular expressions as JSON schemas have them (ECMA-262) -> as the compiler reads them.

Its own file because it is about another language. Only what both spell differently is rewritten.
"""

import re

_ESCAPE = r"\\c[A-Za-z]|\\[pPuUx]\{[^}]*\}|\\[\s\S]"
_TOKENS = re.compile(rf"{_ESCAPE}|\{{\d+(?:,\d*)?\}}|[\s\S]")
_IN_CLASS = re.compile(rf"{_ESCAPE}|[\s\S]")
_SPECIAL_IN_CLASS = "[&~"
"""What begins nested classes and set operations there, and is a letter in ECMA-262."""


def readable_pattern(pattern: str) -> str:
    """The pattern in the compiler's spelling; what neither knows is left to be refused."""
    written, place = [], 0
    while place < len(pattern):
        token = _TOKENS.match(pattern, place)
        assert token is not None
        place = token.end()
        if token[0] == "[":
            text, place = _class(pattern, token.start())
            written.append(text)
        else:
            written.append(_outside(token[0]))
    return "".join(written)


def _outside(token: str) -> str:
    if token[:2] == "\\c" and len(token) == 3:
        return f"\\x{ord(token[2]) % 32:02x}"
    return f"\\{token}" if token in ("{", "}") else token


def _class(pattern: str, start: int) -> tuple[str, int]:
    """The character class that begins at `start`, and where it ends."""
    negated = pattern[start + 1 : start + 2] == "^"
    place = start + 1 + negated
    if pattern[place : place + 1] == "]":
        return ("[\\s\\S]" if negated else "[^\\s\\S]"), place + 1
    written = ["[^" if negated else "["]
    while place < len(pattern):
        token = _IN_CLASS.match(pattern, place)
        assert token is not None
        place = token.end()
        if token[0] == "]":
            return "".join([*written, "]"]), place
        written.append(_inside_class(token[0], written[-1]))
    return pattern[start:], len(pattern)


def _inside_class(token: str, before: str) -> str:
    if token == "\\b":
        return "\\x08"
    if token in _SPECIAL_IN_CLASS or (token == "-" == before):
        return f"\\{token}"
    return _outside(token) if token[0] == "\\" else token
