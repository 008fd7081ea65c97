"""The checkpoint's chat template, rendered in a sandbox."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gemma4_mlx.errors import GemmaError, one_line
from gemma4_mlx.prompt.template_files import DEFAULT, find_templates

TOOL_USE = "tool_use"
"""Name of a template for conversations with tools, where there are several."""

FILLED = frozenset({"bos_token", "messages", "self", "tools"})
"""Names in a template whose content comes from elsewhere."""


def check_variables(variables: Mapping[str, Any]) -> None:
    """Raises GemmaError where variables that somebody gives for a template are called like what it is given anyhow."""
    taken = sorted(FILLED & set(variables))
    if taken:
        raise GemmaError(f"{taken[0]} is no variable for the chat template, which gets it from elsewhere; leave it out")


class ChatTemplate:
    """A Jinja template that turns messages into marked-up text; another may take its place where tools are declared."""

    def __init__(self, source: str, name: str = "chat template", *, with_tools: str | None = None) -> None:
        from jinja2 import TemplateError

        from gemma4_mlx.prompt.environment import make_environment

        environment = make_environment()
        self.name = name
        try:
            self._template = environment.from_string(source)
            self._with_tools = self._template if with_tools is None else environment.from_string(with_tools)
        except (TemplateError, RecursionError) as error:
            raise GemmaError(f"{name}: not a Jinja template ({one_line(error)})") from None

    @classmethod
    def from_folder(cls, folder: Path) -> "ChatTemplate":
        """Reads the template from wherever the checkpoint keeps it.

        Raises GemmaError where there is none, or no Jinja template in it.
        """
        found = find_templates(folder)
        return cls(found.named[DEFAULT], str(found.path), with_tools=found.named.get(TOOL_USE))

    def render(self, messages: Sequence[Mapping[str, Any]], **variables: Any) -> str:
        """The marked-up text. Raises GemmaError with the template's own reason where it refuses the messages."""
        try:
            template = self._with_tools if variables.get("tools") else self._template
            return template.render(messages=messages, **variables)
        except Exception as error:  # a template can fail in any way that an expression can
            raise GemmaError(f"{self.name}: these messages can't be rendered ({one_line(error)})") from None
