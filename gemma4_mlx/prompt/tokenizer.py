"""Text <-> token ids, with the template's markup and people's text kept apart.

Control tokens count only where the template wrote them. People's text is *quoted* before it is rendered: a mark goes
behind each first letter of a control token, so that none can form, not even across two parts. Encoding cuts the
rendered text at the control tokens that are left, takes the marks out again and encodes each piece as plain text.
"""

import codecs
import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gemma4_mlx.config import LARGEST
from gemma4_mlx.errors import GemmaError, one_line, shortened
from gemma4_mlx.files import TOKENIZER_BYTES, decode, read_json, read_limited

if TYPE_CHECKING:
    import tokenizers

MARK = "\ue000"
"""A private-use character. Where people's text has it, it is doubled."""


SPACE = "▁"
"""How vocabularies write a space."""

BOS = "<bos>"
"""What a prompt begins with if the checkpoint names no other token for it."""

TURN = "<|turn>"
"""What templates write where a turn begins."""

CONTROL = re.compile(r"<\|[^<>|]*\|?>|<[^<>|]*\|>|<(bos|eos|pad)>")
"""How control tokens of Gemma 4 are spelled."""

MOST_CONTROL_TOKENS = 20_000
"""Special tokens that a tokenizer may have; the published one has 24."""

GROWTH: Mapping[str, int] = {"NFD": 4, "NFKC": 18, "NFKD": 18}
"""Characters that each of these steps makes of one at most."""

MOST_GROWTH = 64
"""Characters that all of a tokenizer's steps together may make of one."""

SETTINGS = ("special_tokens_map.json", "tokenizer_config.json")
"""Files with a tokenizer's settings, if they are there; the later one counts for what both say."""


class Tokenizer:
    """A checkpoint's `tokenizer.json`, its control tokens by content, and streaming decoding."""

    def __init__(self, backend: "tokenizers.Tokenizer", settings: Mapping[str, Any], placeholders: Mapping[str, int]):
        """`settings` are tokenizer_config.json's; `placeholders` are control tokens that config.json names.

        Raises GemmaError if the two files contradict each other.
        """
        self._backend = backend
        backend.encode_special_tokens = True
        added = backend.get_added_tokens_decoder()
        self.control_ids = {token.content: id for id, token in added.items() if token.special}
        if len(self.control_ids) > MOST_CONTROL_TOKENS:
            raise GemmaError(
                f"tokenizer.json: {len(self.control_ids)} special tokens; {MOST_CONTROL_TOKENS} are accepted"
            )
        self.special_tokens = {"bos_token": BOS} | _special_tokens(settings)
        for token, id in placeholders.items():
            if self.control_ids.setdefault(token, id) != id:
                raise GemmaError(f"{token} is {self.control_ids[token]} in tokenizer.json but {id} in config.json")
        bytes_in_vocabulary = {byte: backend.token_to_id(f"<0x{byte:02X}>") for byte in range(256)}
        self._byte_ids = {id: bytes([byte]) for byte, id in bytes_in_vocabulary.items() if id is not None}
        pattern = "|".join(re.escape(token) for token in sorted(self.control_ids, key=len, reverse=True))
        self._control = re.compile(f"({pattern})")
        self._quotable = (MARK, *sorted({token[0] for token in self.control_ids} - {MARK}))

    @classmethod
    def from_folder(cls, folder: Path, placeholders: Mapping[str, int]) -> "Tokenizer":
        """Reads tokenizer.json, and what settings there are. Raises GemmaError if it is missing, or one is damaged."""
        path = folder / "tokenizer.json"
        if not path.exists():
            raise GemmaError(f"{folder}: no tokenizer.json there; download or convert the checkpoint again")
        try:
            backend = _read_backend(decode(read_limited(path, TOKENIZER_BYTES)))
        except Exception as error:  # the library raises bare Exception
            raise GemmaError(f"{path}: not a tokenizer ({shortened(one_line(error))})") from None
        settings: dict[str, Any] = {}
        for path in (folder / name for name in SETTINGS):
            settings |= _without_nulls(read_json(path)) if path.exists() else {}
        return cls(backend, settings, placeholders)

    def quote(self, text: str) -> str:
        """Text that renders as itself: no control token can form in it."""
        for letter in self._quotable:
            text = text.replace(letter, letter + MARK)
        return text

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
        except Exception as error:  # the library raises bare Exception
            raise GemmaError(f"tokenizer.json: it can't encode a text ({shortened(one_line(error))})") from None

    def check_ids(self, vocab_size: int) -> None:
        """Raise GemmaError if the tokenizer has a token that a model of this vocabulary has no embedding of."""
        size, added = self._backend.get_vocab_size(), max(self._backend.get_added_tokens_decoder(), default=0)
        if max(size - 1, added) >= vocab_size:
            raise GemmaError(
                f"tokenizer.json: it has tokens up to {max(size - 1, added)}, but config.json's vocab_size is "
                f"{vocab_size}; take the tokenizer that belongs to the model"
            )

    def token_bytes(self) -> list[bytes]:
        """What each id stands for; b"" where there is none. Control tokens stand for their names."""
        ids = self._backend.get_vocab(with_added_tokens=True)
        largest = max(ids.values())
        if largest > LARGEST:
            raise GemmaError(f"tokenizer.json: it has the token {largest}; at most {LARGEST} is possible")
        tokens = [b""] * (largest + 1)
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

    @property
    def bos_id(self) -> int:
        """The id that every prompt begins with. Raises GemmaError where the vocabulary lacks it."""
        return self.id(self.special_tokens["bos_token"])

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


def _read_backend(text: str) -> "tokenizers.Tokenizer":
    """The tokenizer in a file, with its control tokens marked as such: some exporters leave that out."""
    import tokenizers

    backend = tokenizers.Tokenizer.from_str(text)
    backend.no_truncation()  # what somebody once trained with: it would cut long texts
    backend.no_padding()
    _check_steps(backend)
    backend.model.dropout = None  # it would cut the same text otherwise each time
    added = backend.get_added_tokens_decoder().values()
    unmarked = [token.content for token in added if not token.special and CONTROL.fullmatch(token.content)]
    if unmarked:
        content = json.loads(text)
        for token in content["added_tokens"]:
            token["special"] = token["special"] or token["content"] in unmarked
        return _read_backend(json.dumps(content))
    if TURN not in {token.content for token in added}:
        ids = backend.get_vocab()
        names = sorted(filter(CONTROL.fullmatch, ids), key=ids.__getitem__)
        backend.add_special_tokens([tokenizers.AddedToken(name, normalized=False, special=True) for name in names])
    return backend


def _check_steps(backend: "tokenizers.Tokenizer") -> None:
    """Raise ValueError for steps that can make very much of a short text, or take for ever."""
    if type(backend.model).__name__ != "BPE":
        raise ValueError(f"its model is {type(backend.model).__name__}; Gemma's is BPE")
    affixes = (backend.model.continuing_subword_prefix, backend.model.end_of_word_suffix)
    if any(len(affix) > MOST_GROWTH for affix in affixes if affix):
        raise ValueError("it puts a long text beside each word")
    for step in (backend.normalizer, backend.pre_tokenizer, backend.decoder):
        if step is not None and _growth(json.loads(step.__getstate__())) > MOST_GROWTH:
            raise ValueError(f"its {type(step).__name__} makes more than {MOST_GROWTH} characters of one")


def _growth(step: Mapping[str, Any]) -> int:
    """Characters that a step makes of one at most. Raise ValueError if that can't be told."""
    inner = next((step[name] for name in ("normalizers", "pretokenizers", "decoders") if name in step), None)
    if inner is not None:
        return math.prod(_growth(part) for part in inner[:MOST_GROWTH]) * (1 + len(inner) // MOST_GROWTH)
    pattern = step.get("pattern", {"String": " "})
    if not isinstance(pattern, dict) or not pattern.get("String") or step["type"] == "Precompiled":
        raise ValueError(f"its {step['type']} has a pattern of a kind that Gemma's tokenizers do not have")
    return max(1, len(step.get("content") or ""), 1 + len(step.get("prepend") or ""), GROWTH.get(step["type"], 1))


def _special_tokens(settings: Mapping[str, Any]) -> dict[str, str]:
    """The text of each special token in a tokenizer's settings: it stands there itself, or in an object's `content`."""
    named = dict(settings)
    for table in ("extra_special_tokens", "model_specific_special_tokens"):
        named |= settings[table] if isinstance(settings.get(table), dict) else {}
    texts = {name: token.get("content") if isinstance(token, dict) else token for name, token in named.items()}
    return {name: text for name, text in texts.items() if name.endswith("_token") and text and isinstance(text, str)}


def _without_nulls(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if value is not None}


def _unquote(text: str) -> str:
    """Takes the marks out: each follows the character it was put behind."""
    return re.sub(f"(.){MARK}", r"\1", text, flags=re.DOTALL) if MARK in text else text
