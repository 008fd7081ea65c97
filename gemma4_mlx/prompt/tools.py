"""Tools that the model may call: their declarations, what may be asked of them, and what runs them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gemma4_mlx.errors import GemmaError, one_line, shortened
from gemma4_mlx.prompt.declarations import simplified

Declaration = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One tool.

    Attributes:
        name: what the model calls it.
        description: what it does, for the model.
        parameters: JSON schema of its arguments, an object.
        run: takes the arguments by name and returns text or JSON; None where somebody else runs it.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    run: Callable[[Mapping[str, Any]], Any] | None = None

    def declaration(self) -> dict[str, Any]:
        """What goes to the chat template."""
        function = {"name": self.name, "description": self.description, "parameters": simplified(self.parameters)}
        return {"type": "function", "function": function}

    def check(self, arguments: Mapping[str, Any]) -> None:
        """Raises GemmaError, in one line that names the argument, where the arguments are not what was declared.

        So it does where the schema can't tell: where it is endless, or refers to what it has not.
        """
        from jsonschema.exceptions import best_match

        try:
            error = best_match(_validator(self.parameters).iter_errors(arguments))
        except RecursionError:
            raise GemmaError(f"{self.name}: the arguments are nested too deep") from None
        except Exception as error:  # a reference to nothing, a number too large to divide: schemas are somebody else's
            raise GemmaError(f"{self.name}: the arguments can't be checked ({shortened(str(error))})") from None
        if error is not None:
            path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.absolute_path)
            where = f"argument {path.removeprefix('.')}: " if path else ""
            raise GemmaError(f"{self.name}: {where}{shortened(error.message)}")


AnyTool = Tool | Declaration | Callable[..., Any]
"""What `read_tool` takes."""


def read_tool(source: AnyTool) -> Tool:
    """A tool from a Python function, from `{"type": "function", "function": {...}}`, or from the inner part alone.

    The inner part is `{"name", "description", "parameters": JSON schema}`. Raises GemmaError where it is none of these.
    """
    if isinstance(source, Tool):
        return source
    if not isinstance(source, Mapping):
        from gemma4_mlx.prompt.functions import tool_from_function

        return tool_from_function(source)
    function = source.get("function", source)
    name = function.get("name") if isinstance(function, Mapping) else None
    if not isinstance(name, str) or not name.strip() or set(name) & set("{}"):
        raise GemmaError(f"a tool must be {{'name': ..., 'parameters': JSON schema}}, not {shortened(repr(source))}")
    description, parameters = function.get("description") or "", function.get("parameters") or {}
    if not isinstance(description, str) or not isinstance(parameters, Mapping):
        raise GemmaError(f"tool {name}: description must be text and parameters a JSON schema")
    if parameters.get("type", "object") != "object":
        raise GemmaError(f"tool {name}: parameters must be of type object, not {shortened(repr(parameters['type']))}")
    tool = Tool(name=name.strip(), description=description, parameters={"type": "object", **parameters})
    _check_schema(tool)
    return tool


def read_tools(sources: Sequence[AnyTool]) -> dict[str, Tool]:
    """Tools by name. Raises GemmaError where two have the same."""
    tools: dict[str, Tool] = {}
    for tool in map(read_tool, sources):
        if tool.name in tools:
            raise GemmaError(f"two tools are called {tool.name}; rename one")
        tools[tool.name] = tool
    return tools


def _check_schema(tool: Tool) -> None:
    from jsonschema.exceptions import SchemaError

    try:
        _validator(tool.parameters).check_schema(tool.parameters)
        simplified(tool.parameters)
    except (GemmaError, SchemaError, RecursionError, AttributeError, TypeError, ValueError) as error:
        message = error.message if isinstance(error, SchemaError) else one_line(error)
        raise GemmaError(f"tool {tool.name}: {shortened(message)}") from None


def _validator(schema: Mapping[str, Any]) -> Any:
    """A validator that never fetches what a schema refers to."""
    from jsonschema import Draft202012Validator, validators
    from referencing import Registry

    kind = validators.validator_for(schema, default=Draft202012Validator)
    return kind(schema, registry=Registry())
