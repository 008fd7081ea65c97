"""Tools that nobody has seen: names, descriptions, parameters, questions and responses put together at random.

A tool tells a property of a thing ("get_price", "stockOfProduct"), or does something with it ("play_song"). Which one
a question needs is told by the words that it shares with a declaration.
"""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from train_nano.data import library, words
from train_nano.data.phrases import expand, varied
from train_nano.data.tools import Request

PROPERTIES = words.listed("""
price stock score rating distance height weight balance status schedule owner address email age size capacity speed
level humidity salary title author director genre menu invoice genome definition synonym version license location
deadline discount color material calories lyrics duration area length depth voltage temperature pressure grade rank
mass brightness origin manager supplier warranty delivery departure arrival gate platform delay fare seat fee tax
exchange_rate interest_rate opening_hours release_date birth_date serial_number phone_number word_count file_size
air_quality battery_level next_event best_route nearest_station checksum branch author_name ticket_count queue_length
""")
THINGS = words.listed("""
item product book movie team player user customer employee device room country stock_symbol ticker order_id flight
airport host server file url date language ingredient recipe plant animal planet river mountain street company brand
department course student patient doctor hotel restaurant museum train station bus vehicle car repository package
domain channel playlist artist album song game match league currency sensor printer account contract document
""")
ACTIONS: dict[str, tuple[str, str, str]] = {
    # name: (parameter, question, description)
    "play": ("song", "(Play|Start|Put on) {v}(.|, please.|)", "Play a song"),
    "open": ("app", "(Open|Launch|Start up) {v}(.|, please.|)", "Open an app"),
    "call": ("person", "(Call|Ring|Phone) {v}(.|, please.|)", "Call a person"),
    "delete": ("file", "(Delete|Remove|Erase) {v}(.|, please.|)", "Delete a file"),
    "add_note": ("text", "(Note|Write down|Add a note): {v}(.|)", "Add a note"),
    "search": ("query", "(Search|Look|Google) for {v}(.|, please.|)", "Search the web"),
    "translate": ("text", "Translate {v}(.|, please.|)", "Translate a text"),
    "book": ("hotel", "(Book|Reserve) {v}(.| for me.|, please.)", "Book a hotel"),
    "turn_on": ("device", "(Turn|Switch) on {v}(.|, please.|)", "Turn on a device"),
    "turn_off": ("device", "(Turn|Switch) off {v}(.|, please.|)", "Turn off a device"),
    "remind": ("task", "Remind me of {v}(.|, please.|)", "Set a reminder"),
    "print": ("document", "Print {v}(.|, please.|)", "Print a document"),
    "buy": ("item", "(Buy|Order|Purchase) {v}(.| for me.|, please.)", "Buy an item"),
    "lock": ("door", "Lock {v}(.|, please.|)", "Lock a door"),
    "navigate": ("destination", "(Navigate|Drive|Take me) to {v}(.|, please.|)", "Navigate to a destination"),
}
_GET = ["get", "find", "fetch", "look_up", "query", "check", "read", "show", "lookup", "retrieve", "compute"]
_PURPOSES = [
    "(Get|Find|Look up|Returns|Return|Fetch|Tells|Shows|Gives) the {p} (of|for) (a|the|a given|one) {t}",
    "{p} (of|for) a {t}",
    "(Use this to get|Call this for|Provides|Reports) the {p} of a {t}.",
    "(Look up|Query) a {t}'s {p}",
    "{p} lookup by {t}",
]
_QUESTIONS = [
    "(What is|What's|whats|Tell me|Give me|Find|Look up|Check|Show me|I need) the {p} (of|for) {v}(?|.|)",
    "(Can|Could|Would) you (please |)(tell me|find|look up|check|get) the {p} (of|for) {v}?",
    "{p} (of|for) {v}(?|, please.|)",
    "(What|Which) {p} (does|has) {v}(?| have?)",
    "(What is|What's|Tell me|Look up) the {p} (of|for) the {t} {v}(?|.)",
    "(For|About) the {t} {v}: what is the {p}?",
    "I (am looking for|would like to have|have to know) the {p} of {v}.",
    "{v}'s {p}(?|, please.)",
    "(Do you know|Please tell me|Let me know) the {p} of {v}(?|.)",
    "(How much|When|Where|How high) is the {p} (of|for|in|at) {v}(?|)",
    "(Get|Bring|Show|Read) me the {p} (of|for|in) {v}(.|, please.|)",
    "(Does {v} have a {p}|Is there a {p} for {v})?",
    "I (need|want) {v}, (what|which) {p}?",
    "(Is|Check|Find) the {t} {v}: {p}(?|)",
]
_SHORT = ["(And|What about|How about|And what about|And for|And) {v}?", "(Now|Then|And now) {v}(.|, please.)"]
_UNITS = [["celsius", "fahrenheit"], ["km", "miles"], ["short", "long"], ["euro", "dollar"], ["metric", "imperial"]]


@dataclass(frozen=True, slots=True)
class AnyTool:
    """A tool made up: what it tells about a thing, or does with it.

    Attributes:
        asked: the grammar of its questions, with {v} for the value.
        told: what its response is called.
        extra: a second parameter: its name and its possible values, or none for a number.
    """

    name: str
    purpose: str
    argument: str
    asked: list[str]
    told: str
    described: str
    extra: tuple[str, list[str]] | None = None

    def declaration(self) -> dict[str, Any]:
        properties: dict[str, Any] = {self.argument: {"type": "string", "description": self.described}}
        if self.extra:
            name, values = self.extra
            schema = {"type": "string", "enum": values} if values else {"type": "integer"}
            properties[name] = schema | {"description": f"The {name}"}
        schema = {"type": "object", "properties": properties, "required": list(properties)}
        return {"type": "function", "function": {"name": self.name, "description": self.purpose, "parameters": schema}}

    def _arguments(self, rng: random.Random, value: str) -> tuple[dict[str, Any], str]:
        """(arguments, what the question says about the second one)."""
        if not self.extra:
            return {self.argument: value}, ""
        name, values = self.extra
        if values:
            chosen = rng.choice(values)
            return {self.argument: value, name: chosen}, f" in {chosen}"
        count = rng.randint(2, 99)
        return {self.argument: value, name: count}, f" for {count} {name}"

    def ask(self, rng: random.Random, held_out: bool, same: str | None = None) -> Request:
        found = same or value(rng)
        arguments, more = self._arguments(rng, found)
        form = expand(rng, rng.choice(self.asked))
        text = form.format(v=found)
        text = text[:-1].rstrip() + more + text[-1] if text[-1:] in "?." else text + more
        if found.islower() or rng.random() < 0.8:
            text = _reworded(rng, text, [found, more])
        return Request(text, arguments, found)

    def short(self, rng: random.Random, held_out: bool) -> Request:
        if self.extra:
            return self.ask(rng, held_out)
        found = value(rng)
        return Request(expand(rng, rng.choice(_SHORT)).format(v=found), {self.argument: found}, found)

    def respond(self, rng: random.Random, request: Request) -> tuple[Any, str]:
        """(what the tool returns, the answer): one value, or several under their names."""
        if not self.told:
            done = rng.choice(["done", "ok", "success", "started", "queued"])
            returned = rng.choice([done, json.dumps({"status": done})])
            return returned, f"The tool says: {done}."
        first = result(rng)
        if rng.random() < 0.3:
            key, second = rng.choice(PROPERTIES).replace("_", " "), result(rng)
            said = f"The {self.told} of {request.about} is {first} and the {key} is {second}."
            return json.dumps({self.told.replace(" ", "_"): first, key.replace(" ", "_"): second}), said
        key = rng.choice([self.told.replace(" ", "_"), rng.choice(["result", "value", "answer", "data", "output"])])
        returned = rng.choice([str(first), json.dumps({key: first})])
        return returned, f"The {self.told} of {request.about} is {first}."


def _reworded(rng: random.Random, text: str, kept: list[str]) -> str:
    """Casual variations that leave the arguments alone."""
    made = varied(rng, text)
    return made if all(part in made for part in kept) else text


def _id(rng: random.Random) -> str:
    return f"{rng.choice(['', 'A', 'B-', 'X', 'ID-', '#', 'QR'])}{rng.randint(10, 9999)}"


_VALUES: dict[Callable[[random.Random], str], float] = {
    words.invented: 0.3,
    library.word: 0.2,
    lambda rng: f"{library.word(rng)} {library.word(rng)}": 0.1,
    words.accented: 0.03,
    words.person: 0.07,
    lambda rng: words.city(rng, False): 0.15,
    _id: 0.15,
}


def value(rng: random.Random) -> str:
    """A name, a word or an id."""
    return rng.choices(list(_VALUES), list(_VALUES.values()))[0](rng)


def result(rng: random.Random) -> Any:
    kind = rng.random()
    if kind < 0.45:
        return rng.randint(0, 10 ** rng.randint(1, 4))
    if kind < 0.55:
        return round(rng.uniform(0, 100), rng.choice([1, 2]))
    return rng.choice([words.invented(rng), library.word(rng).lower(), words.person(rng)])


def _named(rng: random.Random, pieces: list[str]) -> str:
    """get_price, getPrice, GetPrice, get-price or another spelling."""
    parts = "_".join(pieces).split("_")
    kind = rng.random()
    if kind < 0.6:
        return "_".join(parts)
    if kind < 0.8:
        return parts[0] + "".join(p.capitalize() for p in parts[1:])
    return "".join(p.capitalize() for p in parts) if kind < 0.9 else "".join(parts)


def _word(rng: random.Random, known: list[str]) -> str:
    return rng.choice(known) if rng.random() < 0.6 else library.word(rng).lower()


def _telling(rng: random.Random) -> AnyTool:
    told, thing = _word(rng, PROPERTIES), _word(rng, THINGS)
    plain, object_ = told.replace("_", " "), thing.replace("_", " ")
    get = rng.choice(_GET)
    name = _named(
        rng, rng.choice([[get, told], [get, thing, told], [told], [told, "of", thing], [told, get], [thing, told]])
    )
    if rng.random() < 0.06:
        name = words.invented(rng).lower()
    purpose = expand(rng, rng.choice(_PURPOSES)).format(p=plain, t=object_)
    argument = rng.choice([thing, thing, thing, "name", "id", "query", f"{thing}_name", "q"])
    asked = [q.replace("{p}", plain).replace("{t}", object_) for q in _QUESTIONS]
    extra = None
    if rng.random() < 0.2:
        extra = (rng.choice(["unit", "format", "style"]), rng.choice(_UNITS))
    elif rng.random() < 0.12:
        extra = (rng.choice(["days", "hours", "people", "pieces", "weeks"]), [])
    described = rng.choice(
        [f"The {object_}", f"Name of the {object_}", object_, f"Which {object_}", f"{object_} to look up"]
    )
    return AnyTool(name, purpose[:1].upper() + purpose[1:], argument, asked, plain, described, extra)


def _acting(rng: random.Random) -> AnyTool:
    """A tool that does whatever some verb says."""
    verb, thing = library.word(rng).lower(), rng.choice(THINGS)
    object_ = thing.replace("_", " ")
    asked = [
        f"(Please |Now |Could you |Can you |){verb} (|the {object_} ){{v}}(|, please|.)",
        f"(I want you to|You should|Go and) {verb} {{v}}(.|)",
        f"{verb.capitalize()} (a {object_} called |the {object_} |){{v}}(.|, please.|)",
    ]
    name = _named(rng, rng.choice([[verb], [verb, thing], [thing, verb], ["do", verb]]))
    purpose = expand(
        rng,
        f"({verb.capitalize()} (a|the) {object_}|Call this to {verb} a {object_}.|{verb.capitalize()}s a {object_})",
    )
    argument = rng.choice([thing, thing, "name", "id", "label", "target"])
    return AnyTool(name, purpose, argument, asked, "", rng.choice([f"The {object_}", object_, f"Which {object_}"]))


def _doing(rng: random.Random) -> AnyTool:
    if rng.random() < 0.5:
        return _acting(rng)
    action = rng.choice(list(ACTIONS))
    argument, asked, purpose = ACTIONS[action]
    name = _named(rng, rng.choice([[action], [action, argument], ["do", action], [action, "tool"]]))
    polite = f"(Please|Could you|Can you|I want you to) {_order(asked)}"
    return AnyTool(name, purpose, argument, [asked, polite], "", f"The {argument}")


def _order(asked: str) -> str:
    """The first words of a question to an acting tool inside a polite frame."""
    return asked[0] + asked[1:2].lower() + asked[2:] if asked[0] == "(" else asked[0].lower() + asked[1:]


def make(rng: random.Random) -> AnyTool:
    return _telling(rng) if rng.random() < 0.75 else _doing(rng)
