"""Word lists for text tasks: names of things, cities, filler sentences."""

import random


def _list(text: str, separator: str | None = None) -> list[str]:
    return [item.strip() for item in text.split(separator)]


CITIES = _list(
    """
Oslo Paris Berlin Madrid Rome Vienna Prague Warsaw Athens Lisbon Dublin London Zurich Geneva Basel Bern Hamburg
Munich Cologne Lyon Nice Turin Milan Naples Venice Porto Seville Bilbao Krakow Riga Tallinn Vilnius Helsinki
Bergen Malmo Aarhus Leeds York Bath Cardiff Belfast Glasgow Boston Denver Dallas Austin Miami Chicago Seattle
Detroit Phoenix Atlanta Portland Houston Memphis Tampa Toronto Ottawa Montreal Calgary Lima Quito Bogota Caracas
Havana Santiago Brasilia Recife Tokyo Osaka Kyoto Kobe Nagoya Seoul Busan Beijing Shanghai Delhi Mumbai Chennai
Kolkata Karachi Lahore Dhaka Hanoi Manila Jakarta Bangkok Singapore Perth Sydney Darwin Hobart Auckland Cairo
Tunis Algiers Lagos Accra Dakar Nairobi Kampala Kigali Lusaka Harare Pretoria Durban Baghdad Tehran Amman Beirut
Ankara Izmir Sofia Skopje Zagreb Split Belgrade Budapest Graz Linz Salzburg Ghent Bruges Antwerp Utrecht
Rotterdam
"""
)
HELD_CITIES = _list(
    """
Amsterdam Barcelona Stockholm Copenhagen Brussels Valencia Marseille Bordeaux Leipzig Dresden Sapporo Melbourne
Brisbane Nashville Orlando Vancouver Casablanca Reykjavik Bucharest Florence
"""
)
OWNERS = _list(
    """
blue red green yellow old new small large wooden iron front back north south east west upper lower silver golden
"""
)
THINGS = _list(
    """
door gate box safe locker garage tower vault bridge office shed boat room cabin library cellar attic garden
train museum
"""
)
HELD_THINGS = _list(
    """
lighthouse kitchen barn school
"""
)
PLAIN_WORDS = _list(
    """
apple river stone cloud paper house garden window table light bread water green silver morning evening summer
winter music letter number pencil bottle basket forest island mountain valley village bridge street market
flower butter sugar pepper candle mirror carpet blanket pillow hammer ladder engine wagon rabbit tiger horse
eagle falcon salmon turtle spider monkey donkey
"""
)
_SUBJECTS = _list(
    """
The baker, A farmer, The teacher, My neighbour, The captain, A young girl, The old man, The doctor, A student,
The painter, Our guide
""",
    ",",
)
_VERBS = _list(
    """
walked to, looked at, wrote about, painted, visited, talked about, waited near, left, remembered, described,
cleaned, liked
""",
    ",",
)
_OBJECTS = _list(
    """
the market, the river, a long letter, the harbour, an empty street, the hills, the station, a small house, the
forest, the sea
""",
    ",",
)
_TIMES = _list(
    """
in the morning, at noon, last summer, after the rain, every day, on Monday, before dinner, in winter, late at
night, today
""",
    ",",
)


def invented(rng: random.Random) -> str:
    """A name that nobody has seen: copying it letter by letter is the only way."""
    syllables = rng.randint(2, 3)
    name = "".join(
        rng.choice("bcdfghjklmnprstvwz") + rng.choice("aeiou") + rng.choice(["", "", "n", "r", "l", "s"])
        for _ in range(syllables)
    )
    return name.capitalize()


def city(rng: random.Random, held_out: bool) -> str:
    if held_out:
        return rng.choice(HELD_CITIES)
    return rng.choice(CITIES) if rng.random() < 0.35 else invented(rng)


def filler(rng: random.Random) -> str:
    return f"{rng.choice(_SUBJECTS)} {rng.choice(_VERBS)} {rng.choice(_OBJECTS)} {rng.choice(_TIMES)}."
