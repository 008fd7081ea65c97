"""Facts told in a text or earlier in a conversation, and copying: everything there is to be found in the prompt."""

import random
from dataclasses import dataclass

from train_nano.data import library, words
from train_nano.data.phrases import ask, expand, varied
from train_nano.data.sample import Sample, user

NOTED = "I will remember that."
_CODES = ["The code of the {n} is {c}.", "The code for the {n} is {c}.", "The number of the {n} is {c}."]
_MORE_CODES = [
    "Remember that the code of the {n} is {c}.",
    "Do not forget: the code of the {n} is {c}.",
    "Note: the code for the {n} is {c}.",
    "The secret code of the {n} is {c}.",
    "By the way, the code of the {n} is {c}.",
    "The {n} has the code {c}.",
    "{c} is the code of the {n}.",
]
# (what it is called, how it is told, how it is asked for); {n} whose, {v} the value.
_FACTS = [
    ("password", "The password (of|for) the {n} is {v}.", "(What is|Tell me|Which is) the password (of|for) the {n}?"),
    ("color", "The color of the {n} is {v}.", "(What|Which) color (is|has) the {n}?"),
    ("owner", "The owner of the {n} is {v}.", "(Who is the owner of|Who owns) the {n}?"),
    ("name", "The name of the {n} is {v}.", "(What is|Tell me) the name of the {n}(?|.)"),
    ("price", "The price of the {n} is {v}.", "(What is the price of|What does|How much is) the {n}(?| cost?)"),
    ("key", "The key (of|for) the {n} is {v}.", "(What is|Which is|Give me) the key (of|for) the {n}(?|.)"),
    ("secret word", "The secret word of the {n} is {v}.", "(What is|Tell me) the secret word of the {n}(?|.)"),
    ("place", "The place of the {n} is {v}.", "(Where is|What is the place of) the {n}?"),
    ("date", "The date of the {n} is {v}.", "(When is|What is the date of|Which day is) the {n}?"),
]
_LENGTHS, _HELD_LENGTHS = [0, 0, 1, 1, 2, 2, 3, 4, 6, 9, 16], [2, 4, 8, 12, 16]


def _pages(rng: random.Random, facts: list[str], sentences: int) -> str:
    """Sentences of real or made-up text with the facts at random places."""
    real = rng.random() < 0.75
    lines: list[str] = []
    while len(lines) < sentences:
        if real and rng.random() < 0.15:
            lines.append(library.snippet(rng))
        else:
            lines.append(library.sentence(rng) if real else words.filler(rng))
    for fact in facts:
        lines.insert(rng.randint(0, len(lines)), fact)
    return rng.choice([" ", " ", "\n"]).join(lines)


def _names(rng: random.Random, held_out: bool, count: int) -> list[str]:
    things = words.HELD_THINGS if held_out and rng.random() < 0.3 else words.THINGS
    names: list[str] = []
    while len(names) < count:
        kind = rng.random()
        if held_out or kind < 0.5:
            made = f"{rng.choice(words.OWNERS)} {rng.choice(things)}"
        elif kind < 0.8:
            made = (
                f"{library.word(rng).lower()} {rng.choice(words.THINGS) if rng.random() < 0.5 else library.word(rng)}"
            )
        else:
            made = words.invented(rng).lower() if rng.random() < 0.5 else library.word(rng).lower()
        if made not in names:
            names.append(made)
    return names


def _code(rng: random.Random) -> str:
    return "".join(rng.choices("0123456789", k=rng.choice([2, 3, 4, 4, 4, 5, 6])))


def _asked(rng: random.Random, held_out: bool, facts: list[str], question: str, answer: str) -> Sample:
    """The question after the pages, before them or in a later turn."""
    told = _pages(rng, facts, rng.choice(_HELD_LENGTHS if held_out else _LENGTHS))
    kind = 1.0 if held_out else rng.random()
    if kind < 0.15:
        messages = [user(told), {"role": "assistant", "content": NOTED}, user(question)]
        if kind < 0.03:
            return Sample(task="recall", messages=messages[:1], answer=NOTED)
    elif kind < 0.25:
        messages = [user(f"{question}\n{told}")]
        return Sample(task="recall", messages=messages, answer=answer)
    else:
        break_ = "\n" if held_out else rng.choice(["\n", "\n\n", " "])
        messages = [user(f"{told}{break_}{question}")]
    return Sample(task="recall", messages=messages, answer=answer, jumps=True)


def recall(rng: random.Random, held_out: bool) -> Sample:
    """One of one to four codes; the answer names the thing first, so that the words before the code are the same."""
    names = _names(rng, held_out, rng.choice([1, 1, 1, 2, 3, 4]))
    codes = [_code(rng) for _ in names]
    forms = _CODES if held_out or rng.random() < 0.5 else _MORE_CODES
    facts = [rng.choice(forms).format(n=n, c=c) for n, c in zip(names, codes, strict=True)]
    question = ask(rng, "recall", held_out, x=names[0])
    return _asked(rng, held_out, facts, question, f"The code of the {names[0]} is {codes[0]}.")


def _value(rng: random.Random, what: str) -> str:
    if what == "price" or rng.random() < 0.2:
        return _code(rng)
    if what == "owner":
        return words.person(rng)
    return rng.choice([words.invented(rng), library.word(rng), words.city(rng, False), library.word(rng)])


def fact(rng: random.Random, held_out: bool) -> Sample:
    """A fact of any kind among others."""
    names = _names(rng, held_out, rng.choice([1, 1, 2, 3]))
    kinds = [rng.choice(_FACTS) for _ in names]
    values = [_value(rng, kind[0]) for kind in kinds]
    told = [expand(rng, k[1]).format(n=n, v=v) for k, n, v in zip(kinds, names, values, strict=True)]
    question = varied(rng, expand(rng, kinds[0][2]).format(n=names[0]))
    return _asked(rng, held_out, told, question, f"The {kinds[0][0]} of the {names[0]} is {values[0]}.")


# (what people say about themselves, what nano replies, how they ask for it later, the answer).
ABOUT_ME = [
    (
        "(My name is|I am|I'm|Call me) {p}.",
        "Nice to meet you, {p}!",
        "(What is|What's|Do you remember|Tell me) my name(?|.)",
        "Your name is {p}.",
    ),
    (
        "(I live in|My home is in|I am from|I come from) {x}.",
        NOTED,
        "Where (do I live|am I from|is my home)?",
        "You live in {x}.",
    ),
    (
        "My favorite (color|food|number|animal|city) is {v}.",
        NOTED,
        "(What is|What's|Tell me) my favorite {k}(?|.)",
        "Your favorite {k} is {v}.",
    ),
    (
        "(I have a (dog|cat|horse|bird) (called|named)|My (dog|cat|horse|bird) is (called|named)) {x}.",
        NOTED,
        "(What is the name of my {k}?|What's my {k}'s name?|What is my {k} called?)",
        "Your {k} is called {x}.",
    ),
    (
        "My (sister|brother|mother|friend|boss) is (called|named) {p}.",
        NOTED,
        "(Who is my {k}?|What is the name of my {k}?|What is my {k} called?)",
        "Your {k} is called {p}.",
    ),
    ("I (like|love) {v}.", NOTED, "What do I (like|love)?", "You like {v}."),
    ("I am {i} years old.", NOTED, "How old am I?", "You are {i} years old."),
    (
        "(My phone number|My number) is {c}.",
        NOTED,
        "(What is|What's|Tell me) my (phone |)number(?|.)",
        "Your number is {c}.",
    ),
    ("(I work as a|I am a|My job is) {v}.", NOTED, "What (is my job|do I work as|do I do)?", "You are a {v}."),
]
_KINDS = words.listed("color food number animal city dog cat horse bird sister brother mother friend boss")


@dataclass(frozen=True, slots=True)
class Told:
    """What somebody says about themselves, nano's reply, the question later and its answer; `kind` is what it is."""

    kind: str
    said: str
    reply: str
    question: str
    answer: str


def about_me(rng: random.Random) -> Told:
    told, reply, asked, answer = rng.choice(ABOUT_ME)
    said = expand(rng, told)
    kind = next((k for k in _KINDS if f" {k} " in said), "")
    slots = {
        "p": rng.choice(words.NAMES) if rng.random() < 0.6 else rng.choice([words.invented, words.accented])(rng),
        "x": words.city(rng, False),
        "v": library.word(rng).lower(),
        "i": rng.randint(5, 99),
        "c": _code(rng),
        "k": kind,
    }
    question = expand(rng, asked).format(**slots)
    if rng.random() < 0.25:
        question = question.lower().rstrip("?.")
    said = said.format(**slots)
    if rng.random() < 0.2:
        said = rng.choice(["Hi, ", "Hello! ", "Please remember: ", "Note this: "]) + said
    return Told(asked + kind, said, reply.format(**slots), question, answer.format(**slots))


def _some_words(rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.35:
        return " ".join(library.word(rng) for _ in range(rng.randint(1, 7)))
    if kind < 0.6:
        return " ".join(rng.choice(words.PLAIN_WORDS) for _ in range(rng.randint(1, 6)))
    if kind < 0.8:
        return " ".join(
            rng.choice([words.invented, words.invented, words.accented])(rng) for _ in range(rng.randint(1, 4))
        )
    return "".join(rng.choices("0123456789", k=rng.randint(3, 10)))


def copied(rng: random.Random) -> str:
    """Words, a sentence, some sentences or code."""
    kind = rng.random()
    if kind < 0.3:
        return _some_words(rng)
    if kind < 0.6:
        return library.sentence(rng)
    if kind < 0.75:
        return library.snippet(rng).strip()
    if kind < 0.85:
        return library.paragraph(rng)[:400].strip()
    return words.odd_filler(rng)


def copy(rng: random.Random, held_out: bool) -> Sample:
    text = copied(rng)
    return Sample(task="copy", messages=[user(ask(rng, "copy", held_out, x=text))], answer=text)
