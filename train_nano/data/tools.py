"""Four tools that everybody knows, under many names: their declarations, how people ask, what they return.

`anytools.py` makes up others.
"""

import random
from dataclasses import dataclass
from typing import Any

from train_nano.data import words
from train_nano.data.phrases import expand, framed, varied

SHORT = ["(And|What about|How about|And what about|And for|And in) {x}?", "(Now|Then|And now) {x}(.|, please.)"]
CONDITIONS = ["sunny", "cloudy", "rainy", "windy", "snowy", "foggy"]


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool about one place or name: its declaration, how people ask for it, and how it answers.

    `names`, `purposes` and `arguments` start with the evaluation's own; training calls it by any of them.
    """

    names: list[str]
    purposes: list[str]
    arguments: list[str]
    questions: list[str]
    clauses: list[str]
    orders: list[str]
    held_out: list[str]


@dataclass(frozen=True, slots=True)
class Request:
    """A question to a tool: its text, the arguments of the call, and what it is about."""

    text: str
    arguments: dict[str, Any]
    about: str


@dataclass(frozen=True, slots=True)
class Declared:
    """A tool under one name."""

    tool: Tool
    name: str
    purpose: str
    argument: str

    def ask(self, rng: random.Random, held_out: bool, same: str | None = None) -> Request:
        """A question, about the same place or name as another one if it is given."""
        found = same or about(rng, self.tool, held_out)
        return Request(question(rng, self.tool, found, held_out), {self.argument: found}, found)

    def short(self, rng: random.Random, held_out: bool) -> Request:
        """A question that goes on from the one before it."""
        found = about(rng, self.tool, held_out)
        return Request(expand(rng, rng.choice(SHORT)).format(x=found), {self.argument: found}, found)

    def respond(self, rng: random.Random, request: Request) -> tuple[Any, str]:
        """(what the tool returns, the answer)."""
        return response(rng, self.tool, request.about)

    def declaration(self) -> dict[str, Any]:
        properties = {self.argument: {"type": "string", "description": f"The {self.argument}"}}
        schema = {"type": "object", "properties": properties, "required": [self.argument]}
        return {"type": "function", "function": {"name": self.name, "description": self.purpose, "parameters": schema}}


_PLACE = ["city", "city", "location", "place", "town"]
_TRIP = (
    "(I fly to|I travel to|I drive to|We move to|I will be in|I live in|We are in|My sister lives in|I stay in) {x}"
    "(| today| tomorrow| soon| next week). "
)
WEATHER = Tool(
    ["get_weather", "get_weather", "get_current_weather", "weather", "check_weather", "weather_report"],
    [
        "Get the weather in a city",
        "Get the current weather",
        "Tells the weather of a place",
        "Look up the weather in a given location",
    ],
    _PLACE,
    [
        "(What is|What's|How is|How's|Tell me|Check|Give me) the weather (in|for) {x}"
        "(?|.| today?| now?| right now?| tomorrow?)",
        "(What is|What's) the weather like in {x}(?| today?)",
        "(Is it|Will it be|Was it) (sunny|cold|warm|raining|windy|hot|snowing|dry) in {x}(?| today?)",
        "(What is|What's) the temperature in {x}?",
        "(How many degrees are there|How many degrees is it|Does it rain|Will it rain|Does it snow) in {x}(?| today?)",
        "How (warm|cold|hot|wet) is it in {x}(?| today?)",
        "(Do I need|Should I take|Should I bring) (an umbrella|a coat|a hat) in {x}?",
        "(Weather|Temperature|Forecast|Weather report) (in|for) {x}(?|.|)",
        _TRIP
        + "(What is the weather|What's the weather like|Will it rain|Is it cold|How warm is it|What about the weather)"
        "(?| there?)",
    ],
    [
        "(how|what) the weather is in {x}",
        "(how|what) the weather in {x} is(| like)",
        "(if|whether) it (rains|is cold) in {x}",
    ],
    ["(check|look up|find|get|report|give me) the (weather|temperature|forecast) (in|for|of) {x}"],
    ["Can you check the weather for me in {x}?", "I am going to {x}. How is the weather?"],
)
TIME = Tool(
    ["get_time", "get_time", "get_current_time", "local_time", "clock", "time_in_city"],
    [
        "Get the time in a city",
        "Get the current time",
        "Tells the local time of a place",
        "Look up the time in a location",
    ],
    _PLACE,
    [
        "(What time is it|What is the time|What's the time|Tell me the time|How late is it) (in|now in) {x}(?|.)",
        "(Which|What) (hour|time) is it (now in|in|over in) {x}?",
        "(Time|Local time|Current time|Clock) (in|for) {x}(?|.|)",
        "(Is it|Is it already) (morning|late|night|noon|evening) in {x}?",
        "(I will phone|I am calling|I must reach|I have to ring|I write to) "
        "(my office|a friend|someone|my mother|them) in {x}. "
        "(What time is it|What's the time|How late is it)(?| there?| now?)",
        _TRIP + "(What time is it|How late is it|What's the local time|What is the time)(?| there?)",
    ],
    ["(what time|how late) it is in {x}", "the (time|local time) in {x}", "what the time in {x} is"],
    ["(check|look up|find|get|give me|tell me) the (time|local time|current time) (in|for|of) {x}"],
    ["Can you tell me what time it is in {x}?", "I want to call {x}. What time is it there?"],
)
POPULATION = Tool(
    ["get_population", "get_population", "population", "count_people", "city_size", "inhabitants"],
    ["Get the number of people in a city", "Look up the population of a place", "Tells how many people live somewhere"],
    _PLACE,
    [
        "How many (people|inhabitants|persons) (live in|are there in|are living in|does it have in) {x}?",
        "(What is|What's|Tell me|Give me) the population of {x}(?|.)",
        "(Population|Inhabitants|Number of people) (of|in) {x}(?|.|)",
        "How (big|large|populous) is {x}?",
        "(What is|What's) the number of people in {x}?",
        _TRIP + "(How many people live there|How big is it|What is the population|How large is the town)?",
    ],
    [
        "how many (people|inhabitants) (live in {x}|{x} has|there are in {x})",
        "the population of {x}",
        "how (big|large) {x} is",
    ],
    ["(check|look up|find|get|give me) the (population|size|number of people) (in|of) {x}"],
    ["Can you look up how many people live in {x}?"],
)
PHONE = Tool(
    ["find_phone", "find_phone", "phone_number", "get_phone", "look_up_contact", "directory"],
    ["Find the phone number of a person", "Look up somebody's phone number", "Search the phone book"],
    ["name", "name", "person", "contact", "who"],
    [
        "(What is|What's|Find|Tell me|Give me|Search) the (phone number|number|phone|contact) of {x}(?|.)",
        "(How can I call|How do I reach|I want to call|Call|I need to call|I must phone|I would like to ring) {x}(?|.)",
        "(Phone|Phone number|Number|Contact) (of|for) {x}(?|.|)",
        "(Which|What) (number|phone number) does {x} have?",
        "I (lost|forgot|need|have not got) the (number|phone number) of {x}.",
    ],
    [
        "the (phone number|number|phone) of {x}",
        "(which|what) (phone number|number) {x} has",
        "how (to call|I reach|I call) {x}",
    ],
    ["(look up|find|get|search|give me) the (phone number|number|phone|contact) (of|for) {x}", "(call|phone|ring) {x}"],
    ["Can you find the phone number of {x}?"],
)
TOOLS = [WEATHER, TIME, POPULATION, PHONE]


def declared(rng: random.Random, tool: Tool, held_out: bool) -> Declared:
    if held_out or rng.random() < 0.5:
        return Declared(tool, tool.names[0], tool.purposes[0], tool.arguments[0])
    return Declared(tool, rng.choice(tool.names), rng.choice(tool.purposes), rng.choice(tool.arguments))


def about(rng: random.Random, tool: Tool, held_out: bool) -> str:
    """A city, or for the phone book mostly a person."""
    if not held_out and tool is PHONE and rng.random() < 0.6:
        return words.person(rng)
    return words.city(rng, held_out)


def question(rng: random.Random, tool: Tool, place: str, held_out: bool) -> str:
    """How people ask; in training never one of the held-out sentences."""
    if held_out:
        return rng.choice(tool.held_out).format(x=place)
    while True:
        form = framed(rng, rng.choice(tool.clauses), rng.choice(tool.orders))
        if rng.random() < 0.55:
            form = expand(rng, rng.choice(tool.questions))
        if form not in tool.held_out:
            text = form.format(x=place)
            casual = varied(rng, text)
            return casual if place in casual else text


def response(rng: random.Random, tool: Tool, place: str) -> tuple[Any, str]:
    """(what the tool returns as text, the answer to the user)."""
    if tool is WEATHER:
        degrees, condition = rng.randint(-9, 39), rng.choice(CONDITIONS)
        form = rng.choice(
            ["{d} degrees, {c}", "{c}, {d} degrees", '{{"temperature": {d}, "condition": "{c}"}}', "{c} {d}"]
        )
        return form.format(d=degrees, c=condition), f"It is {degrees} degrees and {condition} in {place}."
    if tool is TIME:
        time = f"{rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}"
        return rng.choice([time, f'{{"time": "{time}"}}']), f"It is {time} in {place}."
    if tool is POPULATION:
        people = str(rng.randint(1000, 99999))
        return rng.choice([people, f'{{"population": {people}}}']), f"{people} people live in {place}."
    phone = "".join(rng.choices("0123456789", k=rng.randint(4, 7)))
    return rng.choice([phone, f'{{"phone": "{phone}"}}']), f"The number of {place} is {phone}."
