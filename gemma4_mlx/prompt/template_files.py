"""Where a checkpoint keeps its chat templates: five places, in the order in which transformers' processors look."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gemma4_mlx.errors import GemmaError, note, one_line
from gemma4_mlx.files import decode, read_json, read_limited

TEMPLATE_BYTES = 400_000
"""Bytes that a template may have at most; the published one has 19 kB."""

KEY, DEFAULT = "chat_template", "default"
JINJA, MORE = "chat_template.jinja", "additional_chat_templates"


@dataclass(frozen=True, slots=True)
class TemplateSource:
    """Templates by name ("default" among them) and the file that they are from."""

    named: Mapping[str, str]
    path: Path


def find_templates(folder: Path) -> TemplateSource:
    """The templates of the first place that has a default one; a note names places that have another.

    Raises GemmaError if there is none, or something else in its place.
    """
    found = [source for source in _sources(folder) if source.named]
    used = next((source for source in found if DEFAULT in source.named), None)
    if used is None and found:
        names = ", ".join(sorted(found[0].named))
        raise GemmaError(f"{found[0].path}: no chat template {DEFAULT!r} among {names}; give one of them that name")
    if used is None:
        raise GemmaError(f"{folder}: no {JINJA} there; this package needs an instruction-tuned checkpoint")
    for other in found:
        if other.named.get(DEFAULT, used.named[DEFAULT]) != used.named[DEFAULT]:
            note(f"{used.path.name} is used; the chat template in {other.path.name} is another one and is not")
    return used


def _sources(folder: Path) -> Iterator[TemplateSource]:
    for name in ("processor_config.json", "chat_template.json"):
        yield _in_json(folder / name)
    files = {path.stem: path for path in sorted((folder / MORE).glob("*.jinja"))}
    path = folder / JINJA
    files |= {DEFAULT: path} if path.exists() else {}
    yield TemplateSource({name: _read_text(file) for name, file in files.items()}, path)
    yield _in_json(folder / "tokenizer_config.json")


def _in_json(path: Path) -> TemplateSource:
    """What a JSON file has as its chat template: one, a list of `{"name", "template"}`, or an object by name."""
    given = read_json(path).get(KEY) if path.exists() else None
    named: Any = {DEFAULT: given} if given and isinstance(given, str) else given or {}
    if isinstance(named, list) and all(isinstance(entry, dict) for entry in named):
        named = {entry.get("name"): entry.get("template") for entry in named}
    if not isinstance(named, dict) or not all(isinstance(text, str) for text in [*named, *named.values()]):
        raise GemmaError(f"{path}: {KEY} must be a template, or a list of objects with name and template")
    return TemplateSource(named, path)


def _read_text(path: Path) -> str:
    try:
        return decode(read_limited(path, TEMPLATE_BYTES))
    except (OSError, ValueError) as error:
        raise GemmaError(f"{path}: can't be read as UTF-8 text ({one_line(error)})") from None
