"""Tools with names, parameters and descriptions of their own: the call, the answer, and failures."""

import json
import random
from dataclasses import dataclass
from typing import Any

from benchmarks.blind.case import Case, Judge, Maker, asked, contains, refuses


@dataclass(frozen=True, slots=True)
class Known:
    """A tool with one parameter, how people ask for it and values to ask about."""

    name: str
    purpose: str
    parameter: str
    questions: list[str]
    values: list[str]

    def declaration(self) -> dict[str, Any]:
        properties = {self.parameter: {"type": "string", "description": f"the {self.parameter}"}}
        schema = {"type": "object", "properties": properties, "required": [self.parameter]}
        return {"type": "function", "function": {"name": self.name, "description": self.purpose, "parameters": schema}}


CITIES = ["Ghent", "Valparaiso", "Osaka", "Tbilisi", "Kingston", "Aarhus"]
WEATHER = Known(
    "get_weather",
    "Get the weather for a city",
    "city",
    ["what's the weather in {v}", "how is the weather in {v} today?", "Will it rain in {v}?"],
    CITIES,
)
SAME = [
    Known("current_conditions", "Tells the current weather at a place", "place", WEATHER.questions, CITIES),
    Known(
        "clockTime",
        "Current local time in a city",
        "city",
        ["what time is it in {v}?", "time in {v} please", "tell me the time in {v}"],
        CITIES,
    ),
    Known(
        "inhabitants_of",
        "Number of people who live in a town",
        "town",
        ["how many people live in {v}?", "population of {v}"],
        CITIES,
    ),
    Known(
        "phonebook",
        "Find somebody's phone number",
        "person",
        ["what's {v}'s phone number", "I need the phone number of {v}"],
        ["Priya", "Mr Okafor", "Torsten Lindqvist"],
    ),
]
UNFAMILIAR = [
    Known(
        "get_tuition",
        "Get the tuition of a university",
        "university",
        ["what is the tuition at {v}?", "tuition for {v} please", "How much is the tuition of {v}?"],
        ["Uppsala", "Leiden", "Waseda"],
    ),
    Known(
        "lookupMileage",
        "Look up the mileage of a vehicle",
        "vehicle",
        ["mileage of {v}?", "what mileage does {v} have", "please check the mileage of {v}"],
        ["VW-2231", "the van", "KA-100"],
    ),
    Known(
        "tide_table",
        "High tide times for a harbor",
        "harbor",
        ["when is high tide in {v}?", "tide times for {v}", "get me the tide for {v}"],
        ["Brest", "Whitby", "Hilo"],
    ),
    Known(
        "verify_coupon",
        "Check whether a coupon is valid",
        "coupon",
        ["is the coupon {v} valid?", "check coupon {v}", "can I use coupon {v}"],
        ["SAVE20", "XMAS-7", "HELLO"],
    ),
    Known(
        "recipeFinder",
        "Find a recipe for a dish",
        "dish",
        ["find a recipe for {v}", "I want to cook {v}, any recipe?", "recipe for {v} please"],
        ["goulash", "ramen", "shakshuka"],
    ),
    Known(
        "start_timer",
        "Start a kitchen timer",
        "label",
        ["start a timer called {v}", "timer for {v}", "please start the {v} timer"],
        ["eggs", "tea", "dough"],
    ),
    Known(
        "get_tariff",
        "Get the tariff of an energy provider",
        "provider",
        ["what's the tariff of {v}?", "tell me the tariff for {v}"],
        ["Nordkraft", "Enova", "Sunel"],
    ),
    Known(
        "read_sensor",
        "Read the value of a sensor",
        "sensor_id",
        ["read sensor {v}", "what does sensor {v} say?", "value of sensor {v}"],
        ["T-14", "hum2", "9931"],
    ),
]
ALL = [WEATHER, *SAME[1:], *UNFAMILIAR]
UNRELATED = ["hello there!", "who are you?", "what's 4 + 3?", "thank you very much"]
ERRORS = ["timed out", "access denied", "not available", "quota exceeded"]


def _others(rng: random.Random, tool: Known, count: int) -> list[dict[str, Any]]:
    rest = [t for t in ALL if t.purpose != tool.purpose and t.parameter != tool.parameter]
    declared = [tool, *rng.sample(rest, count)]
    rng.shuffle(declared)
    return [t.declaration() for t in declared]


def _called(tool: Known, value: str) -> Judge:
    return lambda said: said.strip() == f'call:{tool.name}{{{tool.parameter}:<|"|>{value}<|"|>}}'


def _calls(tools: list[Known], most: int) -> Maker:
    def make(rng: random.Random) -> Case:
        tool = rng.choice(tools)
        value = rng.choice(tool.values)
        text = rng.choice(tool.questions).format(v=value)
        return Case(messages=[asked(text)], right=_called(tool, value), tools=_others(rng, tool, rng.randint(0, most)))

    return make


def _exchange(rng: random.Random, returned: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(messages up to the response, declarations)."""
    tool = rng.choice(ALL)
    value = rng.choice(tool.values)
    function = {"name": tool.name, "arguments": {tool.parameter: value}}
    turns = [asked(rng.choice(tool.questions).format(v=value))]
    turns += [
        {"role": "assistant", "content": "", "tool_calls": [{"id": "1", "type": "function", "function": function}]}
    ]
    return [*turns, {"role": "tool", "tool_call_id": "1", "content": returned}], _others(rng, tool, rng.randint(0, 2))


def answer(rng: random.Random) -> Case:
    value = str(rng.randint(10, 9999))
    messages, tools = _exchange(rng, rng.choice([value, json.dumps({"value": int(value)})]))
    return Case(messages=messages, right=contains(value), tools=tools)


def failure(rng: random.Random) -> Case:
    error = rng.choice(ERRORS)
    messages, tools = _exchange(rng, rng.choice([json.dumps({"error": error}), f"Error: {error}"]))
    return Case(messages=messages, right=lambda said: "fail" in said and error in said, tools=tools)


def unrelated(rng: random.Random) -> Case:
    tool = rng.choice(ALL)
    return Case(
        messages=[asked(rng.choice(UNRELATED))],
        right=lambda said: "call:" not in said and not refuses(said),
        tools=_others(rng, tool, 1),
    )


def no_tool_fits(rng: random.Random) -> Case:
    tool, other = rng.sample(UNFAMILIAR, 2)
    text = rng.choice(other.questions).format(v=rng.choice(other.values))
    return Case(messages=[asked(text)], right=refuses, tools=[tool.declaration()])


ROWS: dict[str, Maker] = {
    "tools: get_weather(city)": _calls([WEATHER], 0),
    "tools: same subjects, other names": _calls(SAME, 2),
    "tools: unfamiliar": _calls(UNFAMILIAR, 2),
    "tools: four to six declared": _calls(UNFAMILIAR, 5),
    "tools: the answer": answer,
    "tools: a failed call": failure,
    "tools: unrelated question": unrelated,
    "refuses: no tool fits": no_tool_fits,
}
