"""Word lists for text tasks: names of things, cities, filler sentences."""

import random


def listed(text: str, separator: str | None = None) -> list[str]:
    """The words of a text, or its parts between separators."""
    return [" ".join(item.split()) for item in text.split(separator)]


CITIES = listed(
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
CITIES += listed(
    """
Marrakesh Fez Rabat Tangier Alexandria Luxor Khartoum Kinshasa Luanda Maputo Windhoek Gaborone Bamako Abuja Kano
Ibadan Monrovia Freetown Conakry Lome Cotonou Niamey Ouagadougou Djibouti Mogadishu Antananarivo Tbilisi Yerevan
Baku Tashkent Almaty Bishkek Dushanbe Kabul Islamabad Peshawar Kathmandu Thimphu Colombo Bangalore Hyderabad Jaipur
Lucknow Nagpur Surat Kochi Mandalay Yangon Vientiane Phuket Saigon Cebu Davao Bandung Surabaya Medan Taipei Shenzhen
Guangzhou Chengdu Wuhan Nanjing Harbin Tianjin Hiroshima Fukuoka Sendai Yokohama Incheon Daegu Vladivostok Irkutsk
Novosibirsk Kazan Samara Moscow Minsk Kyiv Lviv Odessa Kharkiv Chisinau Varna Plovdiv Thessaloniki Patras Heraklion
Tirana Sarajevo Dubrovnik Ljubljana Bratislava Brno Ostrava Lodz Wroclaw Poznan Gdansk Lublin Rostock Bremen Hanover
Stuttgart Nuremberg Frankfurt Dortmund Essen Mainz Freiburg Innsbruck Lausanne Lugano Genoa Bologna Verona Palermo
Catania Bari Toulouse Nantes Lille Strasbourg Grenoble Dijon Rennes Toulon Malaga Granada Zaragoza Murcia Cordoba
Coimbra Braga Faro Cork Galway Limerick Edinburgh Aberdeen Dundee Liverpool Manchester Birmingham Bristol Oxford
Cambridge Norwich Plymouth Brighton Trondheim Stavanger Gothenburg Uppsala Turku Tampere Odense Aalborg Groningen
Eindhoven Haarlem Philadelphia Baltimore Pittsburgh Cleveland Columbus Cincinnati Milwaukee Minneapolis Omaha
Wichita Tulsa Albuquerque Tucson Sacramento Oakland Fresno Honolulu Anchorage Spokane Boise Charlotte Raleigh
Richmond Louisville Jacksonville Savannah Charleston Winnipeg Edmonton Halifax Regina Quebec Guadalajara Monterrey
Puebla Tijuana Cancun Managua Tegucigalpa Panama Medellin Cali Guayaquil Cusco Arequipa Asuncion Montevideo Rosario
Mendoza Curitiba Salvador Fortaleza Manaus Belem Adelaide Canberra Cairns Wellington Christchurch Dunedin Suva Apia
"""
)
NAMES = listed(
    """
Anna Ben Carla David Emma Felix Grace Henry Ida Jack Karen Leo Maria Noah Olga Paul Quentin Rosa Simon Tina Ursula
Victor Wendy Xavier Yara Zoe Alice Bruno Clara Dennis Elena Frank Gloria Hugo Irene Jonas Kate Liam Mia Nora Oscar
Peter Rachel Sam Thomas Uma Vera Walter Alex Julia Lucas Sofia Martin Laura Daniel Sarah Michael Linda James Robert
Patricia Jennifer William Elizabeth Richard Susan Joseph Charles Nancy Matthew Anthony Betty Mark Helen Steven Andrew
George Kevin Brian Edward Ronald Timothy Jason Smith Jones Brown Miller Wilson Moore Taylor Anderson White Harris
Clark Lewis Walker Hall Young King Wright Baker Hill Green
"""
)
HELD_CITIES = listed(
    """
Amsterdam Barcelona Stockholm Copenhagen Brussels Valencia Marseille Bordeaux Leipzig Dresden Sapporo Melbourne
Brisbane Nashville Orlando Vancouver Casablanca Reykjavik Bucharest Florence
"""
)
OWNERS = listed(
    """
blue red green yellow old new small large wooden iron front back north south east west upper lower silver golden
"""
)
THINGS = listed(
    """
door gate box safe locker garage tower vault bridge office shed boat room cabin library cellar attic garden
train museum
"""
)
HELD_THINGS = listed(
    """
lighthouse kitchen barn school
"""
)
PLAIN_WORDS = listed(
    """
apple river stone cloud paper house garden window table light bread water green silver morning evening summer
winter music letter number pencil bottle basket forest island mountain valley village bridge street market
flower butter sugar pepper candle mirror carpet blanket pillow hammer ladder engine wagon rabbit tiger horse
eagle falcon salmon turtle spider monkey donkey
"""
)
_SUBJECTS = listed(
    """
The baker, A farmer, The teacher, My neighbour, The captain, A young girl, The old man, The doctor, A student,
The painter, Our guide
""",
    ",",
)
_VERBS = listed(
    """
walked to, looked at, wrote about, painted, visited, talked about, waited near, left, remembered, described,
cleaned, liked
""",
    ",",
)
_OBJECTS = listed(
    """
the market, the river, a long letter, the harbour, an empty street, the hills, the station, a small house, the
forest, the sea
""",
    ",",
)
_TIMES = listed(
    """
in the morning, at noon, last summer, after the rain, every day, on Monday, before dinner, in winter, late at
night, today
""",
    ",",
)


_ONSETS = listed(
    "b bl br c ch cl cr d dr f fl fr g gl gr gh h j k kl kr l m n p ph pl pr qu r s sc sch sh sk sl sm sn sp st str"
    " sv sw t th tr tw v w wh x y z zh"
)
_VOWELS = listed("a e i o u a e i o u a e i o u ai au ay ea ee ei eu ey ia ie io oa oo ou ua ue ui y aa oe")
_CODAS = listed("n r l s t m d k b g p x th ch ck ng nt nd st rt rd rg lt ll ss sk rk ns ff rs nk mp ld h w v z")


def syllable(rng: random.Random) -> str:
    """An onset, a vowel and perhaps a coda."""
    onset = rng.choice(_ONSETS) if rng.random() < 0.85 else ""
    return onset + rng.choice(_VOWELS) + (rng.choice(_CODAS) if rng.random() < 0.45 else "")


def invented(rng: random.Random) -> str:
    """A name that nobody has seen: copying it letter by letter is the only way."""
    return "".join(syllable(rng) for _ in range(rng.choice([1, 2, 2, 2, 3]))).capitalize()


_ACCENTED = {"a": "áàäâãå", "e": "éèëê", "i": "íïî", "o": "óöôõø", "u": "úüû", "n": "ñ", "c": "ç", "y": "ý"}


def accented(rng: random.Random) -> str:
    """A made-up name with one letter that English lacks."""
    name = invented(rng)
    places = [i for i, letter in enumerate(name) if letter in _ACCENTED]
    if not places:
        return accented(rng)
    at = rng.choice(places)
    return name[:at] + rng.choice(_ACCENTED[name[at]]) + name[at + 1 :]


_SCRIPTS = [(0xE0, 0xFE), (0x3B1, 0x3C9), (0x430, 0x44F), (0x5D0, 0x5EA), (0x3042, 0x3093), (0x4E00, 0x9FA0)]
_SCRIPTS += [(0x1F600, 0x1F640)]


def foreign(rng: random.Random) -> str:
    """One to four words in the letters of another language, or emojis."""
    first, last = rng.choice(_SCRIPTS)
    said = ["".join(chr(rng.randint(first, last)) for _ in range(rng.randint(1, 6))) for _ in range(rng.randint(1, 4))]
    return " ".join(said) + rng.choice(["", "", "?", ".", "!"])


def city(rng: random.Random, held_out: bool) -> str:
    if held_out:
        return rng.choice(HELD_CITIES)
    kind = rng.random()
    if kind < 0.3:
        return rng.choice(CITIES)
    if kind < 0.45:
        return f"{rng.choice(['New', 'Port', 'San', 'Santa', 'Los', 'Saint', 'Fort', 'Old', 'Great'])} {invented(rng)}"
    return invented(rng)


def person(rng: random.Random) -> str:
    """A first name, often with a family name."""
    first = rng.choice(NAMES) if rng.random() < 0.6 else invented(rng)
    return first if rng.random() < 0.5 else f"{first} {rng.choice(NAMES) if rng.random() < 0.2 else invented(rng)}"


def filler(rng: random.Random) -> str:
    return f"{rng.choice(_SUBJECTS)} {rng.choice(_VERBS)} {rng.choice(_OBJECTS)} {rng.choice(_TIMES)}."


def odd_filler(rng: random.Random) -> str:
    """A sentence of any words, known and unknown."""
    said = [rng.choice(PLAIN_WORDS) if rng.random() < 0.6 else invented(rng).lower() for _ in range(rng.randint(3, 10))]
    return f"{' '.join(said).capitalize()}."
