"""The checkpoint's chat template, rendered in a sandbox."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from gemma4_mlx.config import read_json
from gemma4_mlx.errors import GemmaError, one_line

FILLED = frozenset({"bos_token", "messages", "self", "tools"})
"""Names in a template whose content comes from elsewhere."""


def check_variables(variables: Mapping[str, Any]) -> None:
    """Raises GemmaError where variables that somebody gives for a template are called like what it is given anyhow."""
    taken = sorted(FILLED & set(variables))
    if taken:
        raise GemmaError(f"{taken[0]} is no variable for the chat template, which gets it from elsewhere; leave it out")


class ChatTemplate:
    """A Jinja template that turns messages into marked-up text."""

    def __init__(self, source: str, name: str = "chat template") -> None:
        from jinja2 import TemplateError

        from gemma4_mlx.prompt.sandbox import Sandbox

        environment = Sandbox(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
        environment.globals["raise_exception"] = _refuse
        self._name = name
        try:
            self._template = environment.from_string(source)
        except (TemplateError, RecursionError) as error:
            raise GemmaError(f"{name}: not a Jinja template ({one_line(error)})") from None

    @classmethod
    def from_folder(cls, folder: Path) -> "ChatTemplate":
        """Reads chat_template.jinja, or the `chat_template` of tokenizer_config.json in older exports.

        Raises GemmaError where there is none, or no Jinja template in it.
        """
        path = folder / "chat_template.jinja"
        if path.is_file():
            return cls(_read_text(path), str(path))
        source = read_json(folder / "tokenizer_config.json").get("chat_template")
        if not isinstance(source, str):
            raise GemmaError(
                f"{folder}: no chat_template.jinja there; this package needs an instruction-tuned checkpoint"
            )
        return cls(source, str(folder / "tokenizer_config.json"))

    def render(self, messages: Sequence[Mapping[str, Any]], **variables: Any) -> str:
        """The marked-up text. Raises GemmaError with the template's own reason where it refuses the messages."""
        try:
            return self._template.render(messages=messages, **variables)
        except Exception as error:  # a template can fail in any way that an expression can
            raise GemmaError(f"{self._name}: these messages can't be rendered ({one_line(error)})") from None


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise GemmaError(f"{path}: can't be read as UTF-8 text ({one_line(error)})") from None


def _refuse(message: str) -> NoReturn:
    raise ValueError(message)
