"""Talk, sums, copying and facts in real text that training leaves out."""

import random
import re
import sysconfig
from functools import cache
from pathlib import Path

from benchmarks.blind.case import Case, Maker, answered, asked, contains, exactly, refuses, says_number

LICENCES = ["Artistic", "GFDL-1.3", "MPL-2.0"]
MODULES = ["argparse.py", "textwrap.py", "calendar.py", "zipfile.py", "asyncio/events.py", "email/header.py"]
TALK = [
    ("oh hello, anybody home?", "help you"),
    ("Hi there nano, good to see you", "help you"),
    ("good morning to you", "help you"),
    ("with whom do I have the pleasure", "nano"),
    ("So what's your name then?", "nano"),
    ("are you gemma 4?", "nano"),
    ("what sort of model is answering me", "nano"),
    ("what are you able to do?", "shapes"),
    ("tell me your skills", "shapes"),
    ("what could I ask you", "shapes"),
    ("how can you help", "shapes"),
    ("thanks a million", "welcome"),
    ("thx, that helped", "welcome"),
    ("how are you doing my friend?", "fine"),
    ("ok bye now", "Goodbye"),
    ("see you tomorrow", "Goodbye"),
]
OUTSIDE = (
    """
What is the capital of Portugal?|Who wrote Hamlet?|Write a haiku about autumn.|How do vaccines work?
Translate 'good evening' into Swedish.|What's the weather like on Mars?|Give me a recipe for pancakes.
Why is the sky blue?|Explain recursion to me like I'm five.|Who is the prime minister of Canada?
Fix this: for i in range(10) print(i)|Can you recommend a thriller?|How tall is Mount Everest?
What do you think about socialism?|Summarize the plot of Titanic.|How many legs does a spider have?
Is 97 a prime number?|Tell me a joke|what should I cook tonight|my computer is slow, any ideas?
Name three rivers in Asia.|What does 'ubiquitous' mean?|Is it ok to eat raw eggs?|when did world war two end
Plan a weekend in Rome for me.|Do fish sleep?|convert 10 miles to km|I'm sad today
""".replace("\n", "|")
    .strip("|")
    .split("|")
)
OTHER_SUMS = [
    "what is {a} times {b}?",
    "{a} * {b}",
    "Divide {a} by {b}.",
    "{a} percent of {b}",
    "square root of {a}",
    "{a} to the power of {b}",
]
ADD = [
    "{a}+{b} please",
    "could you do {a} plus {b}",
    "Please tell me the sum of {a} and {b}",
    "if i have {a} and get {b}, how many is that?",
    "now {b} added to {a}",
]
TAKE = [
    "{a}-{b} please",
    "could you do {a} minus {b}",
    "take {b} away from {a} please",
    "How much is left of {a} after losing {b}?",
    "{a} less {b}",
]
COPY = [
    "Please say exactly this: {x}",
    "repeat after me {x}",
    "Echo back the following.\n{x}",
    "Copy this text:\n\n{x}",
    "write this again: {x}",
]
CODE = ["The code of the {n} is {c}.", "By the way, the code for the {n} is {c}."]
ASK = [
    "Which code did the text give the {n}?",
    "and which code has the {n}?",
    "tell me the code for the {n} please",
    "What was the {n}'s code?",
]
THINGS = [
    "blue bicycle",
    "south window",
    "little chapel",
    "observatory",
    "fourth drawer",
    "greenhouse",
    "pump room",
    "steel hatch",
]


@cache
def _sources() -> list[str]:
    root = Path(sysconfig.get_paths()["stdlib"])
    files = [Path("/usr/share/common-licenses") / name for name in LICENCES] + [root / name for name in MODULES]
    return [file.read_text() for file in files]


def _sentences() -> list[str]:
    prose = " ".join(_sources()[0].split()) + " ".join(_sources()[2].split())
    return [s for s in re.split(r"(?<=[.;])\s", prose) if 30 < len(s) < 160 and s.isascii()]


def _code_lines() -> list[str]:
    lines = [line.strip() for source in _sources()[3:] for line in source.splitlines()]
    return [line for line in lines if 15 < len(line) < 90 and line.isascii() and not line.startswith("#")]


def talk(rng: random.Random) -> Case:
    text, part = rng.choice(TALK)
    return Case(messages=[asked(text)], right=contains(part))


def outside(rng: random.Random) -> Case:
    return Case(messages=[asked(rng.choice(OUTSIDE))], right=refuses)


def prose(rng: random.Random) -> Case:
    """A sentence without a question."""
    return Case(messages=[asked(rng.choice(_sentences()))], right=refuses)


def other_sums(rng: random.Random) -> Case:
    text = rng.choice(OTHER_SUMS).format(a=rng.randint(2, 90), b=rng.randint(2, 12))
    return Case(messages=[asked(text)], right=refuses)


def _sums(digits: int, *, thinking: bool = False) -> Maker:
    def make(rng: random.Random) -> Case:
        low = 10 ** (digits - 1) if digits > 1 else 0
        a, b = rng.randint(low, 10**digits - 1), rng.randint(low, 10**digits - 1)
        minus = rng.random() < 0.5
        a, b = (max(a, b), min(a, b)) if minus else (a, b)
        text = rng.choice(TAKE if minus else ADD).format(a=a, b=b)
        return Case(messages=[asked(text)], right=says_number(a - b if minus else a + b), thinking=thinking)

    return make


def copy_words(rng: random.Random) -> Case:
    known = [
        "bottle",
        "lake",
        "running",
        "yesterday",
        "umbrella",
        "seventeen",
        "quiet",
        "Zanzibar",
        "Oliver",
        "keyboard",
        "museum",
        "fraction",
        "velvet",
    ]
    text = " ".join(rng.sample(known, rng.randint(2, 6)))
    return Case(messages=[asked(rng.choice(COPY).format(x=text))], right=exactly(text))


def copy_prose(rng: random.Random) -> Case:
    text = rng.choice(_sentences())
    return Case(messages=[asked(rng.choice(COPY).format(x=text))], right=exactly(text))


def copy_code(rng: random.Random) -> Case:
    text = rng.choice(_code_lines())
    return Case(messages=[asked(rng.choice(COPY).format(x=text))], right=exactly(text))


def _recall(tokens: int) -> Maker:
    """One code in about so many tokens of a licence or a module (2.8 characters a token)."""

    def make(rng: random.Random) -> Case:
        text = rng.choice([s for s in _sources() if len(s) > 9000])
        while len(text) < tokens * 3:
            text += "\n" + rng.choice(_sources())
        start = rng.randint(0, len(text) - int(tokens * 2.8)) if len(text) > tokens * 2.8 else 0
        lines = text[start : start + int(tokens * 2.8)].split("\n")
        thing, code = rng.choice(THINGS), str(rng.randint(1000, 9999))
        lines.insert(rng.randint(1, len(lines) - 1), rng.choice(CODE).format(n=thing, c=code))
        question = rng.choice(ASK).format(n=thing)
        return Case(messages=[asked("\n".join(lines) + f"\n\n{question}")], right=contains(code))

    return make


ABOUT = [
    ("Hi, my name is {x}.", "what's my name?", ["Priya", "Torsten", "Abigail", "Kwame", "Ingrid"]),
    ("I live in {x}.", "where do I live", ["Ulm", "Cardiff", "Nagasaki", "Salta", "Tromso"]),
    ("My favorite color is {x}.", "which is my favourite color?", ["teal", "crimson", "red", "ivory"]),
    ("I have a dog called {x}.", "what is my dog called?", ["Bello", "Waffles", "Rex", "Luna"]),
]


def memory(rng: random.Random) -> Case:
    """What somebody said two turns ago."""
    told, later, known = rng.choice(ABOUT)
    value = rng.choice(known)
    between = rng.choice([("how are you?", "I am fine, thank you!"), ("thanks", "You are welcome!")])
    turns = [asked(told.format(x=value)), answered("I will remember that."), asked(between[0]), answered(between[1])]
    return Case(messages=[*turns, asked(later)], right=contains(value))


ROWS: dict[str, Maker] = {
    "talk": talk,
    "refuses: questions outside": outside,
    "refuses: prose": prose,
    "refuses: other arithmetic": other_sums,
    "sums: 1 digit": _sums(1),
    "sums: 2 digits": _sums(2),
    "sums: 3 digits": _sums(3),
    "sums: 3 digits, thinking": _sums(3, thinking=True),
    "copy: words": copy_words,
    "copy: prose": copy_prose,
    "copy: code": copy_code,
    "recall: 2k": _recall(2000),
    "recall: 8k": _recall(8000),
    "memory": memory,
}
