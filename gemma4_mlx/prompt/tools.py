"""Tools that the model may call: their declarations, what may be asked of them, and what runs them."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gemma4_mlx.errors import GemmaError, note, one_line, shortened
from gemma4_mlx.prompt.declarations import simplified
from gemma4_mlx.prompt.dialects import map_parts, meaningful, modern
from gemma4_mlx.prompt.plain import is_plain

Declaration = Mapping[str, Any]

LONGEST_NAME, LONGEST_DESCRIPTION, LONGEST_DECLARATION = 200, 16_384, 65_536
"""Characters of a tool's name, of its description, of which the rest is left out, and of all that is declared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One tool.

    Attributes:
        name: what the model calls it.
        description: what it does, for the model.
        parameters: JSON schema of its arguments, an object.
        run: takes the arguments by name and returns text or JSON; None where somebody else runs it.
        server: the MCP server that it is a tool of, if it is one's.
        runs_unasked: whether its user has said in the server's file that nobody need agree to its calls.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    run: Callable[[Mapping[str, Any]], Any] | None = None
    server: str | None = None
    runs_unasked: bool = False

    def declaration(self) -> dict[str, Any]:
        """What goes to the chat template, which writes no description of all parameters: the tool's takes it in."""
        parameters = simplified(self.parameters)
        said = [text for text in (self.description, parameters.pop("description", "")) if text]
        function = {"name": self.name, "description": "\n".join(said), "parameters": parameters}
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


PARAMETERS = ("parameters", "inputSchema", "input_schema", "parametersJsonSchema")
"""Where a declaration has its schema: OpenAI's word, MCP's, Anthropic's and Google's."""

AnyTool = Tool | Declaration | Callable[..., Any]
"""What `read_tool` takes."""


def read_tool(source: AnyTool) -> Tool:
    """A tool from a Python function, from `{"type": "function", "function": {...}}`, or from the inner part alone.

    The inner part is `{"name", "description", "parameters": JSON schema}`. Notes patterns that can't be checked, and
    a description that is cut. Raises GemmaError if it is none of these, or larger than tools may be.
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
    if len(name) > LONGEST_NAME or not name.strip().isprintable():
        raise GemmaError(f"tool {shortened(name)}: a name has at most {LONGEST_NAME} characters, all of them visible")
    description = function.get("description") or ""
    parameters: Any = next((function[key] for key in PARAMETERS if function.get(key)), {})
    if not isinstance(description, str) or not isinstance(parameters, Mapping):
        raise GemmaError(f"tool {name}: description must be text and parameters a JSON schema")
    description = _cut(name, description)
    try:
        parameters = _accepting(modern(parameters))
    except RecursionError:
        raise GemmaError(f"tool {name}: the schema is nested too deep; make it flatter") from None
    if parameters.get("type", "object") != "object":
        raise GemmaError(f"tool {name}: parameters must be of type object, not {shortened(repr(parameters['type']))}")
    tool = Tool(name=name.strip(), description=description, parameters={"type": "object", **parameters})
    _check_schema(tool)
    return tool


def _cut(name: str, description: str) -> str:
    """The description as far as it goes to the model."""
    more = len(description) - LONGEST_DESCRIPTION
    if more <= 0:
        return description
    note(f"tool {name}: of its description the model reads {LONGEST_DESCRIPTION:,} characters, not the last {more:,}")
    return f"{description[:LONGEST_DESCRIPTION]} [{more:,} characters left out]"


def read_tools(sources: Sequence[AnyTool]) -> dict[str, Tool]:
    """Tools by name. A declaration that can't be read is left out, with a note, if there are others.

    Raises GemmaError if two have the same name, if none can be read, and for a function that can't be one.
    """
    read = [readable_tool(source) for source in sources] if len(sources) > 1 else [read_tool(each) for each in sources]
    tools: dict[str, Tool] = {}
    for tool in filter(None, read):
        if tool.name in tools:
            raise GemmaError(f"two tools are called {tool.name}; rename one")
        tools[tool.name] = tool
    if sources and not tools:
        read_tool(sources[0])
    return tools


def readable_tool(source: AnyTool, whose: str = "") -> Tool | None:
    """The tool, or None, with a note, if it is a declaration that can't be read. `whose` begins the note."""
    try:
        return read_tool(source)
    except GemmaError as error:
        if not isinstance(source, Mapping):
            raise
        note(f"{whose}{error}; it is left out")
        return None


def _accepting(schema: Any) -> Any:
    """The schema as those mean it who wrote it: OpenAPI's `nullable` lets null in, an empty enum lets in anything."""
    if not isinstance(schema, Mapping):
        return schema
    words = map_parts(schema, _accepting)
    if words.get("enum") == []:
        del words["enum"]
    if words.get("nullable") is True and "type" in words:
        types = words["type"] if isinstance(words["type"], list) else [words["type"]]
        words["type"] = [*types, *(["null"] if "null" not in types else [])]
        if isinstance(words.get("enum"), list) and None not in words["enum"]:
            words["enum"] = [*words["enum"], None]
    return words


def _checkable(schema: Any) -> Any:
    """The schema without the patterns that Python can't read, and without what depends on them."""
    if not isinstance(schema, Mapping):
        return schema
    words = map_parts(schema, _checkable)
    if not _readable(words.get("pattern", "")):
        del words["pattern"]
    patterns = words.get("patternProperties", {})
    if isinstance(patterns, Mapping) and not all(map(_readable, patterns)):
        words["patternProperties"] = {each: part for each, part in patterns.items() if _readable(each)}
        words.pop("additionalProperties", None)
    return words


def _readable(pattern: Any) -> bool:
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError):
        return False
    except TypeError:  # no text: the schema is wrong, which is found elsewhere
        return True
    return True


def _check_schema(tool: Tool) -> None:
    """Raise GemmaError for what is no schema; note what of it can't be checked."""
    from jsonschema import FormatChecker
    from jsonschema.exceptions import SchemaError

    try:
        checkable = _checkable(tool.parameters)
        if not is_plain(tool.parameters):
            _validator(tool.parameters).check_schema(meaningful(tool.parameters), format_checker=FormatChecker(()))
        declared = json.dumps(tool.declaration(), ensure_ascii=False)
        declared.encode()
    except UnicodeEncodeError:
        raise GemmaError(f"tool {tool.name}: has half a character (a lone surrogate); write the whole one") from None
    except (GemmaError, SchemaError, RecursionError, AttributeError, TypeError, ValueError) as error:
        message = error.message if isinstance(error, SchemaError) else one_line(error)
        raise GemmaError(f"tool {tool.name}: {shortened(message)}") from None
    if len(declared) > LONGEST_DECLARATION:
        limit = f"at most {LONGEST_DECLARATION:,} are possible"
        raise GemmaError(f"tool {tool.name}: its declaration has {len(declared):,} characters; {limit}")
    if checkable != tool.parameters:
        note(f"tool {tool.name}: arguments are not checked by the patterns that Python can't read")


def _validator(schema: Mapping[str, Any]) -> Any:
    """A validator that never fetches what a schema refers to."""
    from jsonschema import Draft202012Validator
    from referencing import Registry

    return Draft202012Validator(_checkable(schema), registry=Registry())
