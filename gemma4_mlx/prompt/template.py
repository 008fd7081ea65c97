"""The checkpoint's chat template, rendered in a sandbox."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gemma4_mlx.errors import GemmaError, one_line, shortened
from gemma4_mlx.prompt.template_files import DEFAULT, TEMPLATE_BYTES, find_templates

TOOL_USE = "tool_use"
"""Name of a template for conversations with tools, where there are several."""

LONGEST = 2**23
"""Characters that a rendered text may have, if no model says how many it can read."""

FILLED = frozenset({"bos_token", "messages", "self", "tools"})
"""Names in a template whose content comes from elsewhere."""


def check_variables(variables: Mapping[str, Any]) -> None:
    """Raises GemmaError where variables that somebody gives for a template are called like what it is given anyhow."""
    taken = sorted(FILLED & set(variables))
    if taken:
        raise GemmaError(f"{taken[0]} is no variable for the chat template, which gets it from elsewhere; leave it out")


class ChatTemplate:
    """A Jinja template that turns messages into marked-up text; another may take its place where tools are declared."""

    def __init__(
        self, source: str, name: str = "chat template", *, with_tools: str | None = None, longest: int = LONGEST
    ) -> None:
        """`longest` is the number of characters that a rendered text may have. Raises GemmaError."""
        from gemma4_mlx.prompt.environment import make_environment
        from gemma4_mlx.prompt.render_limits import metered

        environment = make_environment()
        self.name, self._longest = name, longest
        if max(len(source), len(with_tools or "")) > TEMPLATE_BYTES:
            raise GemmaError(f"{name}: a template of more than {TEMPLATE_BYTES} characters is not read")
        try:
            with metered():
                self._template = environment.from_string(source)
                self._with_tools = self._template if with_tools is None else environment.from_string(with_tools)
        except Exception as error:  # a template can be wrong in any way that a program can
            raise GemmaError(f"{name}: not a Jinja template ({shortened(one_line(error))})") from None

    @classmethod
    def from_folder(cls, folder: Path, longest: int = LONGEST) -> "ChatTemplate":
        """Reads the template from wherever the checkpoint keeps it; its texts may have `longest` characters.

        Raises GemmaError where there is none, or no Jinja template in it.
        """
        found = find_templates(folder)
        return cls(found.named[DEFAULT], str(found.path), with_tools=found.named.get(TOOL_USE), longest=longest)

    def render(self, messages: Sequence[Mapping[str, Any]], **variables: Any) -> str:
        """The marked-up text.

        Raises GemmaError with the template's own reason if it refuses the messages, or takes or makes too much.
        """
        from gemma4_mlx.prompt.render_limits import metered

        try:
            template = self._with_tools if variables.get("tools") else self._template
            with metered(self._longest, len(messages)):
                return template.render(variables, messages=messages)
        except Exception as error:  # a template can fail in any way that an expression can
            reason = shortened(one_line(error))
            raise GemmaError(f"{self.name}: these messages can't be rendered ({reason})") from None
