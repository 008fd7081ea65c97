"""Declared tools: the call that a question needs, and the answer from the tool's response."""

import random
from dataclasses import dataclass
from typing import Any

from training.data import words
from training.data.phrases import expand
from training.data.sample import Sample, user

CONDITIONS = ["sunny", "cloudy", "rainy", "windy", "snowy", "foggy"]


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool about one place or name: its declaration, how people ask for it, and how it answers."""

    name: str
    purpose: str
    argument: str
    questions: list[str]
    held_out: list[str]

    def declaration(self) -> dict[str, Any]:
        properties = {self.argument: {"type": "string", "description": f"The {self.argument}"}}
        schema = {"type": "object", "properties": properties, "required": [self.argument]}
        return {"type": "function", "function": {"name": self.name, "description": self.purpose, "parameters": schema}}


TOOLS = [
    Tool(
        "get_weather",
        "Get the weather in a city",
        "city",
        [
            "(What is|What's|How is|How's|Tell me|Check|Give me) the weather (in|for) {x}"
            "(?|.| today?| now?| right now?)",
            "(Is it|Will it be) (sunny|cold|warm|raining|windy) in {x}(?| today?)",
            "(What is|What's) the temperature in {x}?",
            "How (warm|cold|hot) is it in {x}?",
            "(Do I need|Should I take) an umbrella in {x}?",
            "Weather in {x}(?|)",
        ],
        ["Can you check the weather for me in {x}?", "I am going to {x}. How is the weather?"],
    ),
    Tool(
        "get_time",
        "Get the time in a city",
        "city",
        [
            "(What time is it|What is the time|What's the time|Tell me the time|How late is it) (in|now in) {x}(?|.)",
            "(Which|What) (hour|time) is it (now in|in) {x}?",
            "(Time|Local time) in {x}(?|)",
        ],
        ["Can you tell me what time it is in {x}?", "I want to call {x}. What time is it there?"],
    ),
    Tool(
        "get_population",
        "Get the number of people in a city",
        "city",
        [
            "How many people live in {x}?",
            "(What is|What's|Tell me) the population of {x}(?|.)",
            "(Population|Inhabitants) of {x}(?|)",
            "How (big|large) is {x}?",
        ],
        ["Can you look up how many people live in {x}?"],
    ),
    Tool(
        "find_phone",
        "Find the phone number of a person",
        "name",
        [
            "(What is|What's|Find|Tell me|Give me) the (phone number|number|phone) of {x}(?|.)",
            "(How can I call|How do I reach|I want to call|Call|I need to call) {x}(?|.)",
            "(Phone|Phone number) of {x}(?|)",
        ],
        ["Can you find the phone number of {x}?"],
    ),
]


def _case(rng: random.Random, held_out: bool) -> tuple[Tool, str, dict[str, Any], list[dict[str, Any]]]:
    """(tool, what it is asked about, the user's turn, declared tools)."""
    tool = rng.choice(TOOLS)
    about = words.city(rng, held_out)
    text = expand(rng, rng.choice(tool.held_out if held_out else tool.questions)).format(x=about)
    declared = [tool]
    if rng.random() < 0.3:
        declared += rng.sample([t for t in TOOLS if t is not tool], 1)
    rng.shuffle(declared)
    return tool, about, user(text), [t.declaration() for t in declared]


def call(rng: random.Random, held_out: bool) -> Sample:
    tool, about, question, declared = _case(rng, held_out)
    answer = f'<|tool_call>call:{tool.name}{{{tool.argument}:<|"|>{about}<|"|>}}<tool_call|>'
    return Sample(task="tool call", messages=[question], answer=answer, tools=declared, end="<|tool_response>")


def _response(rng: random.Random, tool: Tool, about: str) -> tuple[Any, str]:
    """(what the tool returns as text, the answer to the user)."""
    if tool.name == "get_weather":
        degrees, condition = rng.randint(-9, 39), rng.choice(CONDITIONS)
        form = rng.choice(
            ["{d} degrees, {c}", "{c}, {d} degrees", '{{"temperature": {d}, "condition": "{c}"}}', "{c} {d}"]
        )
        return form.format(d=degrees, c=condition), f"It is {degrees} degrees and {condition} in {about}."
    if tool.name == "get_time":
        time = f"{rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}"
        return rng.choice([time, f'{{"time": "{time}"}}']), f"It is {time} in {about}."
    if tool.name == "get_population":
        people = str(rng.randint(1000, 99999))
        return rng.choice([people, f'{{"population": {people}}}']), f"{people} people live in {about}."
    phone = "".join(rng.choices("0123456789", k=rng.randint(4, 7)))
    return rng.choice([phone, f'{{"phone": "{phone}"}}']), f"The number of {about} is {phone}."


def answer(rng: random.Random, held_out: bool) -> Sample:
    tool, about, question, declared = _case(rng, held_out)
    returned, said = _response(rng, tool, about)
    request = {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": "1", "function": {"name": tool.name, "arguments": {tool.argument: about}}}],
    }
    messages = [question, request, {"role": "tool", "tool_call_id": "1", "content": returned}]
    return Sample(task="tool answer", messages=messages, answer=said, tools=declared)
