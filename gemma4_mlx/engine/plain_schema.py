"""JSON schemas -> schemas of the keywords that the compiler reads in their sense, valid for the same texts.

The compiler knows a part of 2020-12; it refuses the rest, whether or not it matters, or reads it in another sense.
Here references become definitions, keywords that have an equivalent are rewritten, those that limit no text go, and
what can't be kept to is refused with what to write instead.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from typing import Any

from gemma4_mlx.engine.exclusion import KINDS, Shapes, canonical, kind_of, other_kinds, parts_in_place, spelled
from gemma4_mlx.engine.negation import negated
from gemma4_mlx.engine.patterns import readable_pattern, readable_patterns
from gemma4_mlx.engine.schema_part import SAYING_NOTHING, Part, refused
from gemma4_mlx.errors import UsageError, note, shortened
from gemma4_mlx.prompt.dialects import COUNTS

FORMATS = ("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri")
"""The formats that the compiler keeps to."""

_LEAP_YEAR = "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)"
_DATE = f"(?:[0-9]{{4}}-(?:0[13-9]|1[0-2])-[0-9]{{2}}|[0-9]{{4}}-02-(?:[01][0-9]|2[0-8])|{_LEAP_YEAR}-02-29)"
_TIME = "[0-9]{2}:[0-9]{2}:[0-5][0-9]"
EXISTING = {"date": f"^{_DATE}$", "time": f"^{_TIME}", "date-time": f"^{_DATE}[tT]{_TIME}"}
"""What the compiler's formats let through and no calendar has: the 29th of February of other years, and second 60."""

EXACT = 2**53
"""The compiler's numbers are float64, which hold every integer up to here."""

LARGEST = 2**63 - 1024
"""The largest int64 that is a float64 too."""

MAX_DEPTH = 16
"""References that lead to references, and parts of parts, for the names of properties."""
MAX_UNIQUE = 5
"""Values of which all lists without repetition are written out, 326 of them."""
MAX_PARTS = 20_000
"""Schemas that are written, each as often as it is."""


def plain_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema in the compiler's words, with a definition for everything that is referred to.

    Notes formats and keywords that limit nothing. Raises UsageError for what can't be kept to, and for references that
    lead nowhere or out of the schema; RecursionError for what is nested too deep.
    """
    from referencing import Registry
    from referencing.jsonschema import DRAFT202012, specification_with

    if not isinstance(schema.get("id"), str):
        schema = {word: value for word, value in schema.items() if word != "id"}
    dialect = schema.get("$schema")
    specification = specification_with(str(dialect).rstrip("#"), default=DRAFT202012)
    registry: Any = Registry()
    resolver = registry.resolver_with_root(specification.create_resource(schema))
    rewriter = _Rewriter()
    plain = rewriter.write(Part(schema, resolver, specification))
    plain = {"allOf": [plain]} if isinstance(plain, bool) else plain
    definitions = rewriter.write_definitions()
    rewriter.tell()
    return {"$defs": definitions, **plain} if definitions else plain


@dataclass(slots=True)
class _Rewriter:
    targets: dict[int, Part] = field(default_factory=dict)
    """By identity, what is referred to, in the order of the definitions' numbers."""
    formats: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    nullable: bool = False
    shapes: Shapes = field(default_factory=Shapes)
    parts: int = 0

    def write_definitions(self) -> dict[str, Any]:
        """One after the other, not inside each other, however long a chain of references is."""
        written: dict[str, Any] = {}
        while len(written) < len(self.targets):
            part = list(self.targets.values())[len(written)]
            written[str(len(written))] = self.write(part)
        return written

    def tell(self) -> None:
        """Note what was read and limits nothing."""
        if self.formats:
            note(f"no format of the JSON schema but {', '.join(FORMATS)} is kept to: {_listed(self.formats)}")
        if self.unknown:
            note(f"no keyword of JSON schemas, so without effect: {_listed(self.unknown)}")
        if self.nullable:
            note('nullable is no keyword of JSON schemas, so null is not allowed; write "type": [..., "null"] for it')

    def write(self, part: Part) -> Any:
        """One schema and all inside it."""
        self._count()
        if isinstance(part.schema, bool):
            return part.schema
        plain: dict[str, Any] = {}
        more: list[Any] = []
        for word, value in part.words.items():
            if word in _WRITERS:
                _WRITERS[word](self, part, plain, more, value)
            elif word not in SAYING_NOTHING:
                self._leave(word, value)
        return {"allOf": [plain, *more] if plain else more} if more else plain

    def _leave(self, word: str, value: Any) -> None:
        if word == "nullable":
            self.nullable = self.nullable or value is True
        elif not word.startswith(("x-", "x_")):
            self.unknown.add(word)

    def each(self, part: Part, schemas: Sequence[Any]) -> list[Any]:
        """Several schemas inside one."""
        return [self.write(part.inside(schema)) for schema in schemas]

    def refer(self, part: Part) -> dict[str, Any]:
        """A reference to a definition, which is written later."""
        self.targets.setdefault(id(part.schema), part)
        return {"$ref": f"#/$defs/{list(self.targets).index(id(part.schema))}"}

    def negated(self, part: Part, word: str) -> Any:
        """What is not valid for a schema; raises for `word` if there is no such schema."""
        return negated(part, word, self.write)

    def _count(self) -> None:
        self.parts += 1
        if self.parts > MAX_PARTS:
            raise UsageError("the JSON schema is too large to compile; make it smaller")


Writer = Callable[[_Rewriter, Part, dict[str, Any], list[Any], Any], None]
"""Writes one keyword: into the plain schema itself, or as one of more schemas that must hold as well."""

_WRITERS: dict[str, Writer] = {}


def _writes(*words: str) -> Callable[[Writer], Writer]:
    def register(writer: Writer) -> Writer:
        _WRITERS.update(dict.fromkeys(words, writer))
        return writer

    return register


def _as_it_is(word: str) -> None:
    def write(rewriter: _Rewriter, part: Part, plain: dict[str, Any], more: list[Any], value: Any) -> None:
        plain[word] = value

    _WRITERS[word] = write


def _inside(word: str, write_value: Callable[[_Rewriter, Part, Any], Any]) -> None:
    def write(rewriter: _Rewriter, part: Part, plain: dict[str, Any], more: list[Any], value: Any) -> None:
        plain[word] = write_value(rewriter, part, value)

    _WRITERS[word] = write


def _write_mapping(rewriter: _Rewriter, part: Part, schemas: Mapping[str, Any]) -> dict[str, Any]:
    return {name: rewriter.write(part.inside(schema)) for name, schema in schemas.items()}


for _word in ("type", "required", "multipleOf", *(word for word in COUNTS if word != "minProperties")):
    _as_it_is(_word)
for _word in ("items", "additionalProperties"):
    _inside(_word, lambda rewriter, part, schema: rewriter.write(part.inside(schema)))
for _word in ("prefixItems", "allOf", "anyOf"):
    _inside(_word, _Rewriter.each)
_inside("properties", _write_mapping)
_inside(
    "patternProperties",
    lambda rewriter, part, schemas: {
        readable_pattern(pattern): schema for pattern, schema in _write_mapping(rewriter, part, schemas).items()
    },
)
for _word in ("minimum", "exclusiveMinimum"):
    _inside(_word, lambda rewriter, part, limit: _inner_float(limit, math.inf))
for _word in ("maximum", "exclusiveMaximum"):
    _inside(_word, lambda rewriter, part, limit: _inner_float(limit, -math.inf))


@_writes("$ref")
def _write_ref(rewriter: _Rewriter, part: Part, plain: dict[str, Any], more: list[Any], ref: str) -> None:
    plain["$ref"] = rewriter.refer(part.target(ref))["$ref"]


@_writes("$dynamicRef", "$recursiveRef")
def _write_dynamic(rewriter: _Rewriter, part: Part, plain: dict[str, Any], more: list[Any], ref: str) -> None:
    """One that leads to no dynamic anchor is an ordinary reference."""
    target = part.target(ref)
    words = target.schema if isinstance(target.schema, Mapping) else {}
    if words.get("$dynamicAnchor") == ref.rpartition("#")[2] or words.get("$recursiveAnchor"):
        raise refused("$dynamicRef")
    more.append(rewriter.refer(target))


@_writes("const", "enum")
def _write_values(rewriter: _Rewriter, part: Part, plain: dict[str, Any], more: list[Any], value: Any) -> None:
    words = part.words
    values = [words["const"]] if "const" in words else []
    values = [each for each in words.get("enum", values) if not values or spelled(each) == spelled(values[0])]
    for number in _numbers(values):
        if abs(number) >= 2**63 or (isinstance(number, int) and number != int(float(number))):
            shown = str(number)[:40]
            raise UsageError(f"the JSON schema can't be kept to: {shown} is too large a number; write it as a string")
    plain["enum"] = [canonical(each) for each in values]


@_writes("pattern")
def _write_pattern(rewriter: _Rewriter, part: Part, plain: dict[str, Any], more: list[Any], pattern: str) -> None:
    plain["pattern"], *others = readable_patterns(pattern)
    more += [{"pattern": other} for other in others]


@_writes("format")
def _write_format(rewriter: _Rewriter, part: Part, plain: dict[str, Any], more: list[Any], name: str) -> None:
    if name in FORMATS:
        plain["format"] = name
        more += [{"pattern": EXISTING[name]}] if name in EXISTING else []
    else:
        rewriter.formats.add(name)


@_writes("minProperties")
def _write_min_properties(rewriter: _Rewriter, part: Part, plain: dict[str, Any], more: list[Any], least: int) -> None:
    """The compiler counts a name that comes twice as two."""
    required = len(part.words.get("required", ()))
    if least > max(1, required):
        raise UsageError("the JSON schema asks for minProperties over 1; name the properties as required instead")
    if least > required:
        plain["minProperties"] = least


@_writes("oneOf")
def _write_one_of(rewriter: _Rewriter, part: Part, plain: dict[str, Any], more: list[Any], options: list[Any]) -> None:
    parts = [part.inside(option) for option in options]
    written = [rewriter.write(each) for each in parts]
    together = [pair for pair in permutations(range(len(parts)), 2) if not rewriter.shapes.apart(*_pick(parts, pair))]
    others = [[parts[second] for first, second in together if first == index] for index in range(len(parts))]
    exclusive = [
        {"allOf": [option, *(rewriter.negated(other, "oneOf") for other in overlapping)]} if overlapping else option
        for option, overlapping in zip(written, others, strict=True)
    ]
    more.append({"anyOf": exclusive})


def _pick(parts: Sequence[Part], pair: tuple[int, int]) -> tuple[Part, Part]:
    return parts[pair[0]], parts[pair[1]]


@_writes("not")
def _write_not(rewriter: _Rewriter, part: Part, plain: dict[str, Any], more: list[Any], schema: Any) -> None:
    more.append(rewriter.negated(part.inside(schema), "not"))


@_writes("if")
def _write_if(rewriter: _Rewriter, part: Part, plain: dict[str, Any], more: list[Any], schema: Any) -> None:
    """Without both `then` and `else` it says nothing, as they say nothing without it."""
    then, otherwise = part.words.get("then", True), part.words.get("else", True)
    if then is True and otherwise is True:
        return
    condition = part.inside(schema)
    met, unmet = rewriter.write(condition), rewriter.negated(condition, "if")
    consequences = rewriter.each(part, [then, otherwise])
    more.append({"anyOf": [{"allOf": [met, consequences[0]]}, {"allOf": [unmet, consequences[1]]}]})


@_writes("dependentRequired")
def _write_dependent_names(
    rewriter: _Rewriter, part: Part, plain: dict[str, Any], more: list[Any], needs: Mapping[str, list[str]]
) -> None:
    for name, others in needs.items():
        if others:
            more.append({"anyOf": [{"properties": {name: False}}, {"required": [name, *others]}]})


@_writes("dependentSchemas")
def _write_dependent_schemas(
    rewriter: _Rewriter, part: Part, plain: dict[str, Any], more: list[Any], needs: Mapping[str, Any]
) -> None:
    for name, schema in _write_mapping(rewriter, part, needs).items():
        if schema not in (True, {}):
            more.append({"anyOf": [{"properties": {name: False}}, {"allOf": [{"required": [name]}, schema]}]})


@_writes("propertyNames")
def _write_names(rewriter: _Rewriter, part: Part, plain: dict[str, Any], more: list[Any], schema: Any) -> None:
    limits = _name_limits(part.inside(schema))
    if limits is None:
        more.append({"maxProperties": 0})
    for limit in limits or ():
        more.append(limit)


@_writes("uniqueItems")
def _write_unique(rewriter: _Rewriter, part: Part, plain: dict[str, Any], more: list[Any], unique: bool) -> None:
    """Of few values there are few lists without repetition: they are written out."""
    words = part.words
    if not unique or words.get("maxItems", 2) <= 1:
        return
    values = rewriter.shapes.of(part.inside(words.get("items", True))).values
    if values is None or len(values) > MAX_UNIQUE or "prefixItems" in words:
        raise refused("uniqueItems")
    different = list({spelled(value): canonical(value) for value in values}.values())
    lists = [list(each) for size in range(len(different) + 1) for each in permutations(different, size)]
    more.append({"anyOf": [{"enum": lists}, *other_kinds(["array"])]})


@_writes("contains")
def _write_contains(rewriter: _Rewriter, part: Part, plain: dict[str, Any], more: list[Any], schema: Any) -> None:
    least, most = part.words.get("minContains", 1), part.words.get("maxContains")
    if schema in (True, {}):
        more.append({"minItems": least} | ({} if most is None else {"maxItems": most}))
    elif schema is False:
        more.append({} if least == 0 else {"type": [kind for kind in KINDS if kind != "array"]})
    elif least > 0 or most is not None:
        raise refused("contains")


@_writes("minContains", "maxContains", "then", "else")
def _write_nothing(rewriter: _Rewriter, part: Part, plain: dict[str, Any], more: list[Any], value: Any) -> None:
    """Those that belong to `contains` and `if`, which write them."""


@_writes("unevaluatedProperties")
def _write_rest(rewriter: _Rewriter, part: Part, plain: dict[str, Any], more: list[Any], schema: Any) -> None:
    parts = _evaluating(part, "unevaluatedProperties", "additionalProperties")
    if parts:
        named = {name: True for each in parts for name in each.words.get("properties", ())}
        patterns = {readable_pattern(name): True for each in parts for name in each.words.get("patternProperties", ())}
        known = {"properties": named, "patternProperties": patterns}
        known = {word: names for word, names in known.items() if names}
        more.append({**known, "additionalProperties": rewriter.write(part.inside(schema))})


@_writes("unevaluatedItems")
def _write_rest_of_items(rewriter: _Rewriter, part: Part, plain: dict[str, Any], more: list[Any], schema: Any) -> None:
    parts = _evaluating(part, "unevaluatedItems", "items")
    if parts:
        places = [True] * max(len(each.words.get("prefixItems", ())) for each in parts)
        known = {"prefixItems": places} if places else {}
        more.append({**known, "items": rewriter.write(part.inside(schema))})


def _evaluating(part: Part, word: str, rest: str, depth: int = 0) -> list[Part]:
    """The schema and those in its place whose names or items are not left over; empty if nothing is.

    Raises UsageError if that depends on the value.
    """
    words = part.words
    depending = {"$dynamicRef", "$recursiveRef", "anyOf", "oneOf", "if", "dependentSchemas"}
    if rest in words or (depth and word in words) or (not depth and words[word] in (True, {})):
        return []
    if depending & words.keys() or depth > MAX_DEPTH or (rest == "items" and "contains" in words):
        raise refused(word)
    inner = [_evaluating(each, word, rest, depth + 1) for each in parts_in_place(part)]
    return [part, *(each for parts in inner for each in parts)] if all(inner) else []


def _name_limits(part: Part, depth: int = 0) -> list[dict[str, Any]] | None:
    """What objects must be for all their names to satisfy a schema; None if no name does."""
    words = part.words
    names = words.get("enum", [words["const"]] if "const" in words else None)
    if depth > MAX_DEPTH or any(word in _WRITERS and word not in _NAMING for word in words):
        raise refused("propertyNames")
    if "string" not in words.get("type", "string"):
        return None
    limits: list[dict[str, Any]] = []
    if names is not None:
        known = {name: True for name in names if isinstance(name, str)}
        limits.append({"properties": known, "additionalProperties": False})
    for pattern in _name_patterns(words):
        limits.append({"patternProperties": {pattern: True}, "additionalProperties": False})
    targets = [part.target(words["$ref"])] if "$ref" in words else []
    for each in (*targets, *(part.inside(schema) for schema in words.get("allOf", ()))):
        found = _name_limits(each, depth + 1)
        if found is None:
            return None
        limits += found
    return limits


_NAMING = ("type", "const", "enum", "pattern", "minLength", "maxLength", "$ref", "allOf", "format")


def _name_patterns(words: Mapping[str, Any]) -> Iterator[str]:
    if "pattern" in words:
        yield readable_pattern(words["pattern"])
    if "minLength" in words or "maxLength" in words:
        yield f"^[\\s\\S]{{{words.get('minLength', 0)},{words.get('maxLength', '')}}}$"


def _numbers(value: Any) -> Iterator[int | float]:
    """All numbers in a JSON value."""
    if isinstance(value, (list, Mapping)):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _numbers(inner)
    elif kind_of(value) == "number":
        yield value


def _inner_float(limit: int | float, inward: float) -> int | float:
    """The bound itself, or the next number inside it that is both a float64 and an int64, as the compiler needs it."""
    if isinstance(limit, float) or abs(limit) <= EXACT:
        return limit
    limit = max(limit, -LARGEST) if inward > 0 else min(limit, LARGEST)
    near = float(limit) if abs(limit) < 2**1023 else math.copysign(1e308, limit)
    outside = near < limit if inward > 0 else near > limit
    return int(math.nextafter(near, inward) if outside else near)


def _listed(names: set[str]) -> str:
    return shortened(", ".join(sorted(names)))
