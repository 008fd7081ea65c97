"""The words that nano transcribes, what a voice says for them and how they are written."""

import random
from dataclasses import dataclass


def _list(text: str) -> list[str]:
    return text.split()


DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
TEENS = ["ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
WORDS = _list("""
red orange yellow green blue purple pink black white circle square triangle star cross diamond heart left right up down
yes no on off stop go start open close hello please thanks
""")
WORDS += ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
VOCABULARY = [*DIGITS, *TEENS, *TENS, *WORDS]
_LENGTHS = [1, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 6]  # of strings of digits: long ones are harder


@dataclass(frozen=True, slots=True)
class Item:
    """What is written as one word, and the words spoken for it."""

    written: str
    spoken: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Utterance:
    """Items with their text: single digits are written together, everything else apart."""

    items: list[Item]
    text: str

    @property
    def words(self) -> list[str]:
        return [word for item in self.items for word in item.spoken]


def number(value: int) -> Item:
    """0 to 99, in figures."""
    if value < 10:
        return Item(str(value), (DIGITS[value],))
    if value < 20:
        return Item(str(value), (TEENS[value - 10],))
    tens, unit = divmod(value, 10)
    return Item(str(value), (TENS[tens - 2], *([DIGITS[unit]] if unit else [])))


def digits(rng: random.Random, count: int | None = None) -> Utterance:
    """A string of digits; some of two digits only, which teach the place in the string apart from the sound."""
    known = rng.sample("0123456789", 10 if rng.random() < 0.75 else 2)
    said = "".join(rng.choices(known, k=count or rng.choice(_LENGTHS)))
    return Utterance([number(int(digit)) for digit in said], said)


def numbers(rng: random.Random) -> Utterance:
    """One to three numbers of two figures."""
    items = [number(rng.randint(10, 99)) for _ in range(rng.choice([1, 1, 2, 2, 3]))]
    return Utterance(items, " ".join(item.written for item in items))


def words(rng: random.Random) -> Utterance:
    """One to five words, sometimes a number among them."""
    items = [Item(word, (word.lower(),)) for word in rng.choices(WORDS, k=rng.choice([1, 1, 2, 2, 3, 3, 4, 5]))]
    if rng.random() < 0.3:
        items[rng.randrange(len(items))] = number(rng.randint(0, 99))
    return Utterance(items, " ".join(item.written for item in items))


def utterance(rng: random.Random) -> Utterance:
    kind = rng.random()
    return digits(rng) if kind < 0.5 else numbers(rng) if kind < 0.65 else words(rng)
