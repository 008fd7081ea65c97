"""Regular expressions as JSON schemas have them (ECMA-262) -> as the compiler reads them.

Its own file because it is about another language. Only what both spell differently is rewritten.
"""

import re

_ESCAPE = r"\\c[A-Za-z]|\\[pPuUx]\{[^}]*\}|\\[\s\S]"
_TOKENS = re.compile(rf"{_ESCAPE}|\{{\d+(?:,\d*)?\}}|[\s\S]")
_IN_CLASS = re.compile(rf"{_ESCAPE}|[\s\S]")
_SPECIAL_IN_CLASS = "[&~"
"""What begins nested classes and set operations there, and is a letter in ECMA-262."""


_UNIT = r"\\[^A-Za-z0-9]|\\[dws]|\[[^\]\\]+\]|[^\\\[\](){}.*+?^$|]"
_FORBIDDEN = re.compile(rf"(?P<far>\.\*)?(?P<unit>{_UNIT})(?P<twice>(?P=unit))?")
"""What a negative look-ahead may hold: one character here, or one anywhere, or twice the same anywhere."""


def readable_patterns(pattern: str) -> list[str]:
    """Patterns that together are the pattern: what looks ahead at its beginning is a pattern of its own."""
    found, rest = [], pattern.removeprefix("^")
    while pattern.startswith("^") and rest.startswith(("(?=", "(?!")):
        end = _closing(rest)
        lifted = _lifted(rest[:3], rest[3:end])
        if end == len(rest) or lifted is None:
            return [readable_pattern(pattern)]
        found.append(readable_pattern(lifted))
        rest = rest[end + 1 :]
    if found and _closing(f"({rest})", alternative=True) < len(rest) + 1:
        return [readable_pattern(pattern)]
    return [readable_pattern(f"^{rest}"), *found] if found else [readable_pattern(pattern)]


def _closing(pattern: str, alternative: bool = False) -> int:
    """Where the group that begins a pattern ends, or its first alternative; its length if it does not."""
    depth = place = 0
    while place < len(pattern):
        token = _TOKENS.match(pattern, place)
        assert token is not None
        if token[0] == "[":
            place = _class(pattern, place)[1]
            continue
        depth += {"(": 1, ")": -1}.get(token[0], 0)
        if depth == 0 or (alternative and depth == 1 and token[0] == "|"):
            return place
        place = token.end()
    return place


def _lifted(kind: str, inside: str) -> str | None:
    """The pattern that looks ahead, on its own; None if it forbids more than is known how to write."""
    if kind == "(?=":
        return f"^(?:{inside})"
    forbidden = _FORBIDDEN.fullmatch(inside)
    if forbidden is None or (forbidden["twice"] and not forbidden["far"]):
        return None
    unit, other = forbidden["unit"], _other(forbidden["unit"])
    if forbidden["twice"]:
        return f"^{unit}?(?:{other}+{unit}?)*$"
    return f"^{other}*$" if forbidden["far"] else f"^(?:{other}[\\s\\S]*)?$"


def _other(unit: str) -> str:
    """Every character but those of a unit."""
    if unit.startswith("["):
        return f"[{unit[2:]}" if unit.startswith("[^") else f"[^{unit[1:]}"
    return unit.upper() if unit in ("\\d", "\\w", "\\s") else f"[^{unit}]"


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
