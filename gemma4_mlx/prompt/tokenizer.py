"""Text <-> token ids, with the template's markup and people's text kept apart.

Control tokens count only where the template wrote them. People's text is *quoted* before it is rendered: a mark goes
behind each first letter of a control token, so that none can form, not even across two parts. Encoding cuts the
rendered text at the control tokens that are left, takes the marks out again and encodes each piece as plain text.
"""

import codecs
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gemma4_mlx.config import read_json
from gemma4_mlx.errors import GemmaError, one_line, shortened

if TYPE_CHECKING:
    import tokenizers

MARK = "\ue000"
"""A private-use character. Where people's text has it, it is doubled."""


SPACE = "▁"
"""How vocabularies write a space."""


class Tokenizer:
    """A checkpoint's `tokenizer.json`, its control tokens by content, and streaming decoding."""

    def __init__(self, backend: "tokenizers.Tokenizer", settings: Mapping[str, Any], placeholders: Mapping[str, int]):
        """`settings` are tokenizer_config.json's; `placeholders` are control tokens that config.json names."""
        self._backend = backend
        backend.encode_special_tokens = True
        added = backend.get_added_tokens_decoder()
        self.control_ids = {token.content: id for id, token in added.items() if token.special}
        self.settings = settings
        for token, id in placeholders.items():
            if self.control_ids.setdefault(token, id) != id:
                raise GemmaError(f"{token} is {self.control_ids[token]} in tokenizer.json but {id} in config.json")
        bytes_in_vocabulary = {byte: backend.token_to_id(f"<0x{byte:02X}>") for byte in range(256)}
        self._byte_ids = {id: bytes([byte]) for byte, id in bytes_in_vocabulary.items() if id is not None}
        pattern = "|".join(re.escape(token) for token in sorted(self.control_ids, key=len, reverse=True))
        self._control = re.compile(f"({pattern})")
        first_letters = "".join(sorted({token[0] for token in self.control_ids}))
        self._quotable = re.compile(f"[{re.escape(first_letters)}{MARK}]")

    @classmethod
    def from_folder(cls, folder: Path, placeholders: Mapping[str, int]) -> "Tokenizer":
        """Reads tokenizer.json and tokenizer_config.json. Raises GemmaError where they are missing or damaged."""
        import tokenizers

        path = folder / "tokenizer.json"
        if not path.is_file():
            raise GemmaError(f"{folder}: no tokenizer.json there; download or convert the checkpoint again")
        try:
            backend = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises bare Exception
            raise GemmaError(f"{path}: not a tokenizer ({one_line(error)})") from None
        return cls(backend, read_json(folder / "tokenizer_config.json"), placeholders)

    def quote(self, text: str) -> str:
        """Text that renders as itself: no control token can form in it."""
        return self._quotable.sub(lambda match: match[0] + MARK, text)

    def pieces(self, rendered: str) -> Iterator[tuple[int | None, str]]:
        """Cuts rendered text into control tokens `(id, content)` and plain pieces `(None, text)`, quotes taken out."""
        for index, piece in enumerate(self._control.split(rendered)):
            if index % 2:
                yield self.control_ids[piece], piece
            elif piece:
                yield None, _unquote(piece)

    def encode(self, text: str) -> list[int]:
        """Ids of plain text; control tokens in it are spelled out. Raises GemmaError for text that is no Unicode."""
        try:
            return self._backend.encode(text, add_special_tokens=False).ids
        except TypeError:  # what the library says of surrogates
            raise GemmaError(f"a text has half a character in it: {shortened(ascii(text))}") from None

    def token_bytes(self) -> list[bytes]:
        """What each id stands for; b"" where there is none. Control tokens stand for their names."""
        ids = self._backend.get_vocab(with_added_tokens=True)
        tokens = [b""] * (max(ids.values()) + 1)
        for token, id in ids.items():
            tokens[id] = self._bytes(token, id)
        return tokens

    def ends_line(self, id: int) -> bool:
        """Whether a token ends with a line break."""
        return self._bytes(self._backend.id_to_token(id) or "", id).endswith(b"\n")

    def _bytes(self, token: str, id: int) -> bytes:
        return self._byte_ids.get(id) or token.replace(SPACE, " ").encode()

    def decoder(self) -> "StreamDecoder":
        """A new streaming decoder."""
        return StreamDecoder(self._backend, self._byte_ids)

    def id(self, token: str) -> int:
        """The id of a control token. Raises GemmaError where the vocabulary lacks it."""
        try:
            return self.control_ids[token]
        except KeyError:
            raise GemmaError(f"tokenizer.json: {token!r} is not among its special tokens") from None


class StreamDecoder:
    """Ids in, text out as soon as its characters are whole.

    Tokens decode one by one, as Gemma's decoder neither strips nor joins anything; only bytes wait for each other.
    """

    def __init__(self, backend: "tokenizers.Tokenizer", byte_ids: Mapping[int, bytes]) -> None:
        self._backend, self._byte_ids = backend, byte_ids
        self._bytes = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def feed(self, id: int) -> str:
        """The text that this id completes; empty inside a character of several byte tokens."""
        if id in self._byte_ids:
            return self._bytes.decode(self._byte_ids[id])
        return self.finish() + self._backend.decode([id], skip_special_tokens=False)

    def finish(self) -> str:
        """What is left of a character that never became whole, as a replacement character."""
        return self._bytes.decode(b"", final=True)


def _unquote(text: str) -> str:
    """Takes the marks out: each follows the character it was put behind."""
    return re.sub(f"(.){MARK}", r"\1", text, flags=re.DOTALL) if MARK in text else text
