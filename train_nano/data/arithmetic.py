"""Sums and differences, digit by digit: in the answer, or in a thought before it."""

import random

from train_nano.data import vocabulary
from train_nano.data.phrases import ask, expand, varied
from train_nano.data.sample import Sample, user

_DIFFERENCES = [
    "(What is|What's|whats|Calculate|Compute|Give me|Tell me|How much is) {a} (minus|-|less) {b}(?|.|)",
    "(Subtract|Take|Take away) {b} from {a}(.|, please.|)",
    "(What is|What's|Find|Give me|Tell me) the difference (of|between) {a} and {b}(?|.)",
    "{a} (-|minus) {b} (=|= ?|equals|is|makes)",
    "{a}(-| - ){b}(|=|?)",
    "(Work out|Solve|Evaluate) {a} (-|minus) {b}(.|)",
    "(If you take {b} from {a}|{a} without {b}|Taking {b} away from {a}), (what is left|what remains|how much)?",
    "I have {a} (apples|coins|books|euros) and (lose|sell|spend|give away) {b}. How many (do I have left|are left)?",
    "(Could|Would|Can) you (please |)(tell me|work out|compute|calculate) (what |)({a} minus {b}|{a} - {b})(?|)",
    "(I want to know|I need|Please give me|Please compute) {a} minus {b}(.|)",
]
_HELD_DIFFERENCES = ["Could you subtract {b} from {a} for me?", "What do I get for {a} minus {b}?"]


def _columns(a: int, b: int) -> list[tuple[int, int]]:
    """The digits of both, units first, the shorter one filled up with zeros."""
    width = max(len(str(a)), len(str(b)))
    return [(int(x), int(y)) for x, y in zip(str(a).zfill(width)[::-1], str(b).zfill(width)[::-1], strict=True)]


def adding(a: int, b: int) -> str:
    """A written addition, units first: "7+8=15, 2+5+1=8"."""
    steps, carry = [], 0
    for x, y in _columns(a, b):
        steps.append(f"{x}+{y}{'+1' if carry else ''}={x + y + carry}")
        carry = (x + y + carry) // 10
    return ", ".join(steps)


def subtracting(a: int, b: int) -> str:
    """A written subtraction of the smaller b, units first, with ten borrowed where it is needed: "12-8=4, 5-3-1=1"."""
    steps, borrowed = [], 0
    for x, y in _columns(a, b):
        ten = 10 if x - y - borrowed < 0 else 0
        steps.append(f"{x + ten}-{y}{'-1' if borrowed else ''}={x + ten - y - borrowed}")
        borrowed = int(ten > 0)
    return ", ".join(steps)


def worked(a: int, b: int, minus: bool) -> str:
    """The steps of a + b or a - b; a difference below zero is that of the numbers exchanged."""
    if not minus:
        return adding(a, b)
    return subtracting(a, b) if a >= b else f"{b}-{a}: {subtracting(b, a)}"


def answered(a: int, b: int, minus: bool) -> str:
    """The plain answer: its steps unless both numbers have one digit, and the result."""
    result = f"{a} {'-' if minus else '+'} {b} = {a - b if minus else a + b}."
    return result if max(a, b) < 10 else f"{worked(a, b, minus)}, so {result}"


def _operands(rng: random.Random) -> tuple[int, int]:
    """One to three digits each, now and then four."""
    most = [10 ** rng.choices([1, 2, 3, 4], [2, 4, 5, 0.5])[0] - 1 for _ in range(2)]
    if rng.random() < 0.6:
        most[1] = most[0]
    return rng.randint(0, most[0]), rng.randint(0, most[1])


def _in_words(value: int) -> str:
    return " ".join(vocabulary.number(value).spoken)


def _question(rng: random.Random, a: int, b: int, minus: bool, held_out: bool) -> str:
    """Numbers in figures, small ones sometimes in words."""
    shown: tuple[int | str, int | str] = (a, b)
    if not held_out and max(a, b) < 100 and rng.random() < 0.12:
        shown = _in_words(a), _in_words(b)
    if not minus:
        return ask(rng, "sum", held_out, a=shown[0], b=shown[1])
    if held_out:
        return rng.choice(_HELD_DIFFERENCES).format(a=a, b=b)
    return varied(rng, expand(rng, rng.choice(_DIFFERENCES)).format(a=shown[0], b=shown[1]))


def _drawn(rng: random.Random) -> tuple[int, int, bool]:
    (a, b), minus = _operands(rng), rng.random() < 0.5
    if minus and a < b and rng.random() < 0.8:
        a, b = b, a
    return a, b, minus


def plain(rng: random.Random, held_out: bool) -> Sample:
    a, b, minus = _drawn(rng)
    text = _question(rng, a, b, minus, held_out)
    return Sample(task="sum", messages=[user(text)], answer=answered(a, b, minus))


def thought(rng: random.Random, held_out: bool) -> Sample:
    a, b, minus = _drawn(rng)
    text = _question(rng, a, b, minus, held_out)
    result = str(a - b if minus else a + b)
    return Sample(
        task="sum with thought", messages=[user(text)], answer=result, thought=f"{worked(a, b, minus)}, {result}"
    )
