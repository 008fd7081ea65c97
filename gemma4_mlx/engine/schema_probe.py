"""Compiles one grammar and ends: python -P schema_probe.py < GRAMMAR.

Run in a process of its own, so that a schema that would compile for ever, or overflow the compiler's stack, takes only
this process with it. Prints why the grammar can't be used, or nothing.
"""

import sys
import threading
from collections.abc import Sequence
from typing import Any

import llguidance

STACK = 2 << 20
"""Bytes for the compiler's recursion. Threads have at least four times as much where the grammar is used afterwards."""


def limits() -> llguidance.LLParserLimits:
    """What one token may cost, some tens of milliseconds, and what all may, 100 MB."""
    return llguidance.LLParserLimits(max_lexer_states=50_000, verbose_errors=False)


class Bytes:
    """The smallest vocabulary: each byte is a token. The attributes are those that the compiler asks for."""

    tokens: Sequence[bytes] = [*(bytes([byte]) for byte in range(256)), b"<eos>"]
    eos_token_id = 256
    bos_token_id = None
    special_token_ids = (256,)
    is_tokenizer_wrapper = True

    def __call__(self, text: bytes | str) -> list[int]:
        return list(text.encode() if isinstance(text, str) else text)


def probe(grammar: str) -> None:
    """Prints the error, if there is one."""
    vocabulary: Any = Bytes()
    matcher = llguidance.LLMatcher(llguidance.LLTokenizer(vocabulary, slices=[]), grammar, log_level=0, limits=limits())
    if not matcher.is_error():
        matcher.compute_bitmask()
    print(matcher.get_error().encode("ascii", "replace").decode(), end="", flush=True)


if __name__ == "__main__":
    threading.stack_size(STACK)
    thread = threading.Thread(target=probe, args=(sys.stdin.buffer.read().decode(),))
    thread.start()
    thread.join()
