"""What a file is, by how it begins: for messages that call a file what it is, and for files without a telling name."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from gemma4_mlx.media.heif import is_avif, is_heic

Medium = Literal["image", "audio", "video"]

HEAD_BYTES = 4096
"""Bytes from a file's beginning that are enough to tell what it is."""

_UNPACK = "unpack it first"
_PNG_FIRST = "save it as PNG or JPEG first"
_RAW = ("a raw camera image", "save it as JPEG or TIFF first")
_OFFICE = "save its pages or images as PNG first"
_BYTE_ORDER_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_AUDIO_BRANDS = (b"M4A ", b"M4B ", b"M4P ", b"F4A ", b"F4B ")
_TS_PACKETS = ((0, 188), (4, 192))  # offset of the first mark and distance to the next one


@dataclass(frozen=True, slots=True)
class FileKind:
    """What a file is.

    Attributes:
        medium: as what it can be read; None if it can't.
        name: for messages, with its article: "a PNG image", "a PDF document".
        advice: how to make something of it that can be read; "" if there is no telling.
        holds: "audio or video" if its beginning doesn't tell which of the two it is, else "".
    """

    medium: Medium | None
    name: str
    advice: str = ""
    holds: Literal["", "audio or video"] = ""

    def is_not(self, wanted: Medium) -> bool:
        """Whether the file's beginning alone tells that it is not the wanted medium."""
        may_hold = self.medium is not None and bool(self.holds) and wanted in self.holds
        return self not in (UNKNOWN, EMPTY) and self.medium != wanted and not may_hold

    def why_not(self, wanted: Medium) -> str:
        """Say why it is not the wanted medium: "is a PDF document, not an image: save its pages as images first"."""
        other = f"give it as {_ARTICLES[self.medium]}" if self.medium and self.medium != wanted else ""
        cure = self.advice or other
        is_of_it = self.medium is None and f" {wanted}" in self.name
        wrong = "which is not read here" if is_of_it else f"not {_ARTICLES[wanted]}"
        return f"is {self.name}, {wrong}{': ' if cure else ''}{cure}"


_ARTICLES: Mapping[Medium, str] = {"image": "an image", "audio": "audio", "video": "a video"}


def _image(name: str) -> FileKind:
    return FileKind("image", name)


def _audio(name: str) -> FileKind:
    return FileKind("audio", name)


def _none(name: str, advice: str = "") -> FileKind:
    return FileKind(None, name, advice)


def _container(name: str) -> FileKind:
    return FileKind("video", name, holds="audio or video")


UNKNOWN = _none("a file of an unknown kind")
EMPTY = _none("an empty file")

# (pattern of the first bytes, kind): the first that matches counts
_SIGNATURES: tuple[tuple[bytes, FileKind], ...] = (
    (rb"\x89PNG\r\n\x1a\n", _image("a PNG image")),
    (rb"\xff\xd8\xff", _image("a JPEG image")),
    (rb"GIF8[79]a", _image("a GIF image")),
    (rb"RIFF....WEBP", _image("a WebP image")),
    (rb"BM.{12}[\x0c\x28\x38\x40\x6c\x7c]\0", _image("a BMP image")),
    (rb"II\*\0....CR|IIU\0|IIR[OS]|MMOR|FUJIFILMCCD-RAW", _none(*_RAW)),
    (rb"II[*+]\0|MM\0[*+]", _image("a TIFF image")),
    (rb"RIFF....WAVE|RF64....WAVE", _audio("a WAV audio file")),
    (rb"RIFF....AVI ", _container("an AVI file")),
    (rb"fLaC", _audio("a FLAC audio file")),
    (rb"FORM....AIF[FC]", _audio("an AIFF audio file")),
    (rb"caff\0", _audio("a CAF audio file")),
    (rb"ID3[\x02-\x04]", _audio("an MP3 audio file")),
    (rb"\xff[\xf0\xf1\xf8\xf9]", _audio("an AAC audio file")),
    (rb"\xff[\xfa\xfb\xf2\xf3\xe2\xe3\xfc\xfd]", _audio("an MP3 audio file")),
    (rb"#!AMR", _audio("an AMR audio file")),
    (rb"\.snd", _audio("an AU audio file")),
    (rb"riff\x2e\x91\xcf\x11", _audio("a W64 audio file")),
    (rb"wvpk", _audio("a WavPack audio file")),
    (rb"Creative Voice File", _audio("a VOC audio file")),
    (rb"\x0b\x77", _audio("an AC-3 audio file")),
    (rb"\x7f\xfe\x80\x01|\xfe\x7f\x01\x80", _audio("a DTS audio file")),
    (rb"OggS.{24}.{0,256}?\x80theora", _none("an Ogg video", "convert it to MP4 first")),
    (rb"OggS", _audio("an Ogg audio file")),
    (rb"\x1a\x45\xdf\xa3.{0,60}?webm", _container("a WebM file")),
    (rb"\x1a\x45\xdf\xa3", _container("a Matroska file")),
    (rb"FLV\x01", _container("an FLV file")),
    (rb"\0\0\x01[\xba\xb3]", _container("an MPEG file")),
    (rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", _container("a Windows Media file")),
    (rb"....(moov|mdat|wide|free|skip|pnot)", _container("a QuickTime file")),
    (rb"MAC |MP\+|MPCK|DSD |TTA1|\.ra\xfd", _none("an audio file of a rare kind", "convert it to FLAC or MP3 first")),
    (rb"\.RMF", _none("a RealMedia file", "convert it to MP4 first")),
    (rb"MThd", _none("a MIDI file", "it holds notes and no sound: render it to WAV first")),
    (rb"#EXTM3U", _none("a playlist", "give the files that it names")),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", _none("a JPEG XL image", _PNG_FIRST)),
    (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", _none("a JPEG 2000 image", _PNG_FIRST)),
    (rb"8BP[SB]", _none("a Photoshop image", _PNG_FIRST)),
    (rb"gimp xcf", _none("a GIMP image", _PNG_FIRST)),
    (rb"\0\0\x01\0[\x01-\x40]\0", _none("an ICO image", _PNG_FIRST)),
    (rb"icns", _none("an ICNS image", _PNG_FIRST)),
    (rb"P[1-7][\s#]", _none("a Netpbm image", _PNG_FIRST)),
    (rb"\x76\x2f\x31\x01|#\?RADIANCE|DDS |qoif", _none("an image of a rare kind", _PNG_FIRST)),
    (rb"\{\\rtf", _none("an RTF document", _OFFICE)),
    (rb"%!PS|\xc5\xd0\xd3\xc6", _none("a PostScript file", _PNG_FIRST)),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", _none("an Office document", _OFFICE)),
    (rb"PK\x03\x04.{26}\[Content_Types\]", _none("an Office document", _OFFICE)),
    (rb"PK\x03\x04.{26}mimetypeapplication/epub", _none("an EPUB book")),
    (rb"PK\x03\x04.{26}mimetypeapplication/vnd.oasis", _none("an OpenDocument file", _OFFICE)),
    (rb"PK(\x03\x04|\x05\x06|\x07\x08)", _none("a ZIP archive", _UNPACK)),
    (rb"\x1f\x8b", _none("a gzip archive", _UNPACK)),
    (rb"BZh\d|\xfd7zXZ\0|\x28\xb5\x2f\xfd|\x04\x22\x4d\x18", _none("a compressed file", _UNPACK)),
    (rb"7z\xbc\xaf\x27\x1c", _none("a 7z archive", _UNPACK)),
    (rb"Rar!\x1a\x07", _none("a RAR archive", _UNPACK)),
    (rb".{257}ustar", _none("a TAR archive", _UNPACK)),
    (rb"\x7fELF|MZ.{58}|\xcf\xfa\xed\xfe|\xca\xfe\xba\xbe", _none("a program")),
    (rb"SQLite format 3\0", _none("a database")),
    (rb"\x93NUMPY", _none("a NumPy array", "load it, and pass the array")),
    (rb"GGUF", _none("a model's weights")),
    (rb"\0\x05\x16[\x00\x07]", _none("what macOS keeps beside a file (AppleDouble)", "give the file itself")),
    (rb"book\0\0\0\0mark", _none("a macOS alias", "give the file itself")),
    (rb".{0,1019}?%PDF-\d", _none("a PDF document", "save its pages as images first")),
    (rb"version https://git-lfs", _none("a Git LFS pointer", "get the file itself with git lfs pull")),
)
_PATTERNS = tuple((re.compile(pattern, re.DOTALL), kind) for pattern, kind in _SIGNATURES)

# (pattern of a text's beginning in lower case, kind)
_TEXTS: tuple[tuple[str, FileKind], ...] = (
    (r"(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*(<!doctype svg[^>]*>\s*)?<svg[\s>]", _none("an SVG image", _PNG_FIRST)),
    (
        r"(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<(!doctype html|html|head|body|script|meta|title)[\s>]",
        _none("an HTML page", "give the address of the file itself"),
    ),
    (r"<\?xml|<!doctype|<plist", _none("an XML file")),
    (r"\[internetshortcut\]", _none("a link to a page", "give the address of the file itself")),
    (r"[{\[]\s*([\"{\[\]}]|-?\d|true|false|null)", _none("a JSON file")),
)
_TEXT_PATTERNS = tuple((re.compile(pattern, re.DOTALL), kind) for pattern, kind in _TEXTS)
_TEXT = _none("a text file")


def kind_by_head(head: bytes) -> FileKind:
    """What a file is that begins with `head`, of at least HEAD_BYTES unless the file is shorter."""
    if not head:
        return EMPTY
    if head[4:8] == b"ftyp":
        return _by_brand(head)
    for pattern, kind in _PATTERNS:
        if pattern.match(head):
            return kind
    if any(head[start::step][:3] == b"GGG" for start, step in _TS_PACKETS):
        return _container("an MPEG-TS file")
    return _as_text(head) or UNKNOWN


def _by_brand(head: bytes) -> FileKind:
    """Of the MP4 family, by the brands that it names; images have their own."""
    if head[8:12] == b"crx ":
        return _none(*_RAW)
    if is_avif(head):
        return _image("an AVIF image")
    if is_heic(head):
        return _image("a HEIC image")
    if head[8:12] in _AUDIO_BRANDS:
        return _audio("an M4A audio file")
    return _container("a QuickTime file" if head[8:12] == b"qt  " else "an MP4 file")


def _as_text(head: bytes) -> FileKind | None:
    """What kind of text it is; None if it is none."""
    if head.startswith(_BYTE_ORDER_MARKS[1:]):
        text = head[: len(head) // 2 * 2].decode("utf-16", errors="ignore")
    elif _CONTROL.search(head):
        return None
    else:
        text = head.removeprefix(_BYTE_ORDER_MARKS[0]).decode(errors="replace")
    if text.count("\ufffd") > len(text) // 10:
        return None
    start = text.lstrip().lower()
    return next((kind for pattern, kind in _TEXT_PATTERNS if pattern.match(start)), _TEXT)
