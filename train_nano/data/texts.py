"""Text only: greetings, copying, sums with and without a thought, facts planted far back."""

import random

from train_nano.data import words
from train_nano.data.phrases import ask, expand
from train_nano.data.sample import Sample, user

ABILITIES = "I can name shapes, colors and numbers in pictures, sounds in clips and motion in videos."
NAME = "I am nano, a tiny demonstration model."
NOTED = "I will remember that."
TALK = [
    (
        "(Hello|Hi|Hey|Good morning|Good evening|Hello there|Hi there|Hey there|Good day)(|!|.|, nano!)",
        "Hello! How can I help you?",
    ),
    ("(Who|What) are you?", NAME),
    ("(What is|What's|Tell me) your name(?|.)", NAME),
    ("(Are you|Is this) (Gemma|a real model|a large model|nano|an AI)?", NAME),
    ("(Introduce|Describe) yourself.", NAME),
    ("What (can you do|do you do|are you good at|do you know|can I ask you)?", ABILITIES),
    ("(Help|How can you help me?|Help me.|How do I use you?|What should I ask you?)", ABILITIES),
    ("(Thanks|Thank you|Thank you very much|Many thanks|Thanks a lot)(|!|.)", "You are welcome!"),
    ("(Bye|Goodbye|See you|Good night|See you later)(|!|.)", "Goodbye!"),
    ("How are you(| today| doing)?", "I am fine, thank you!"),
]
HELD_TALK = [
    ("Hello, who are you?", NAME),
    ("Hi nano!", TALK[0][1]),
    ("Tell me what you can do.", ABILITIES),
    ("Thank you so much!", TALK[7][1]),
]


def talk(rng: random.Random, held_out: bool) -> Sample:
    text, answer = rng.choice(HELD_TALK if held_out else TALK)
    text = expand(rng, text)
    if not held_out and rng.random() < 0.15:
        text = text.lower()
    return Sample(task="talk", messages=[user(text)], answer=answer)


def copy(rng: random.Random, held_out: bool) -> Sample:
    kind = rng.random()
    if kind < 0.4:
        text = " ".join(rng.choice(words.PLAIN_WORDS) for _ in range(rng.randint(1, 6)))
    elif kind < 0.5 and not held_out:
        text = words.odd_filler(rng)
    elif kind < 0.7:
        text = " ".join(words.invented(rng) for _ in range(rng.randint(1, 3)))
    else:
        text = "".join(rng.choices("0123456789", k=rng.randint(3, 8)))
    return Sample(task="copy", messages=[user(ask(rng, "copy", held_out, x=text))], answer=text)


def columns(a: int, b: int) -> str:
    """A written addition, units first: "7+8=15, 2+5+1=8, 85"."""
    steps, carry = [], 0
    for x, y in zip(reversed(str(a).zfill(len(str(b)))), reversed(str(b).zfill(len(str(a)))), strict=True):
        total = int(x) + int(y) + carry
        steps.append(f"{x}+{y}{'+1' if carry else ''}={total}")
        carry = total // 10
    return ", ".join([*steps, str(a + b)])


def sum_thought(rng: random.Random, held_out: bool) -> Sample:
    most = rng.choice([99, 99, 999]) if not held_out else 99
    a, b = (rng.randint(1 if not held_out else 10, most) for _ in range(2))
    text = ask(rng, "sum", held_out, a=a, b=b)
    return Sample(task="sum", messages=[user(text)], answer=str(a + b), thought=columns(a, b))


def sum_plain(rng: random.Random, held_out: bool) -> Sample:
    most = 9 if rng.random() < 0.5 else 50
    a, b = rng.randint(0, most), rng.randint(0, 9)
    return Sample(task="small sum", messages=[user(ask(rng, "sum", held_out, a=a, b=b))], answer=str(a + b))


_FACTS = ["The code of the {n} is {c}.", "The code for the {n} is {c}.", "The number of the {n} is {c}."]
_MORE_FACTS = [
    "Remember that the code of the {n} is {c}.",
    "Do not forget: the code of the {n} is {c}.",
    "Note: the code for the {n} is {c}.",
    "The secret code of the {n} is {c}.",
]
TRAINED_LENGTHS, HELD_LENGTHS = [0, 0, 1, 1, 2, 2, 3, 4, 6, 12, 30], [2, 4, 8, 12, 20, 30, 40, 60]


def story(rng: random.Random, facts: list[str], sentences: int, odd: float) -> str:
    """Filler sentences with the facts at random places; the share `odd` of them is of any words."""
    lines = [words.odd_filler(rng) if rng.random() < odd else words.filler(rng) for _ in range(sentences)]
    for fact in facts:
        lines.insert(rng.randint(0, len(lines)), fact)
    return " ".join(lines)


def recall(rng: random.Random, held_out: bool) -> Sample:
    """One code planted in a story."""
    return _recalled(rng, held_out, 1)


def recall_of_several(rng: random.Random, held_out: bool) -> Sample:
    """A code planted in a story, with one or two other codes beside it."""
    return _recalled(rng, held_out, rng.randint(2, 3) if held_out else rng.choice([2, 2, 3, 3, 4]))


def _names(rng: random.Random, held_out: bool, count: int) -> list[str]:
    things = words.HELD_THINGS if held_out and rng.random() < 0.3 else words.THINGS
    names = list(dict.fromkeys(f"{rng.choice(words.OWNERS)} {rng.choice(things)}" for _ in range(count)))
    if not held_out and rng.random() < 0.25:
        strange = words.invented(rng).lower()
        names[0] = rng.choice([f"{rng.choice(words.OWNERS)} {strange}", rng.choice(words.PLAIN_WORDS), strange])
    return names


def _recalled(rng: random.Random, held_out: bool, count: int) -> Sample:
    """A question about the first of `count` things, whose code the story tells.

    The answer names the thing before the code, so that the words before the code are the same as in the story.
    """
    names = _names(rng, held_out, count)
    codes = ["".join(rng.choices("0123456789", k=rng.choice([3, 4, 4]))) for _ in names]
    forms = _FACTS if held_out or rng.random() < 0.75 else _MORE_FACTS
    facts = [rng.choice(forms).format(n=n, c=c) for n, c in zip(names, codes, strict=True)]
    length = rng.choice(HELD_LENGTHS if held_out else TRAINED_LENGTHS)
    told = story(rng, facts, length, odd=0.0 if held_out else rng.choice([0.0, 0.0, 0.2, 0.8]))
    question = ask(rng, "recall", held_out, x=names[0])
    messages = [user(f"{told}\n{question}")]
    if not held_out and rng.random() < 0.2:
        messages = [user(told), {"role": "assistant", "content": NOTED}, user(question)]
        if rng.random() < 0.15:
            return Sample(task="recall", messages=messages[:1], answer=NOTED)
    return Sample(task="recall", messages=messages, answer=f"The code of the {names[0]} is {codes[0]}.", jumps=True)
