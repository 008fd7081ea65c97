"""How people ask: per task a grammar for training, (a|b) marking alternatives, and sentences kept for evaluation."""

import random
import re

from train_nano.data.frames import CLAUSES, FRAMES, ORDER_FRAMES, ORDERS

_ALTERNATIVES = re.compile(r"\(([^()]*\|[^()]*)\)")

TRAIN: dict[str, list[str]] = {
    "colour": [
        "(What|Which) (color|colour) has the {x}?",
        "(What|Which) (color|colour)?",
        "(The|This) {x}(, what|: what|: which| -) (color|colour)(| is it)?",
        "(color|colour) (pls|please)",
        "(What|Whats) the (color|colour)(| here| of it)?",
        "(Is the {x} red, blue or something else?|How is the {x} painted?)",
        "(What|Which) (color|colour) is (the|this) {x}?",
        "(What is|What's|Tell me|Name|Give me|Give) the (color|colour) of (the|this) {x}.",
        "(The {x} is what|What's the {x}'s) (color|colour)?",
        "(Which|What) (color|colour) (does|did) the {x} have?",
        "(Color|Colour) of the {x}?",
        "(Say|Identify|Describe) the {x}'s (color|colour).",
        "What (color|colour) do you see(| on the {x})?",
        "In what (color|colour) is the {x} (drawn|painted|shown)?",
    ],
    "shape": [
        "(What|Which) (shape|form|figure)?",
        "What is (drawn|painted|shown) here, (which|what) shape?",
        "(shape|form) (pls|please|?)",
        "(Is it|Is this) a circle, a square or (what|something else)?",
        "The (shape|form)?",
        "(Name|Tell me) this (shape|figure|form).",
        "(What|Which) shape is (the object|this|the {c} object|it|in the picture|shown|in the image)?",
        "(What is|What's|Tell me|Name|Give me|Identify) the shape(| of the object| in the picture| in this image).",
        "(What|Which) (kind|type|sort) of shape (is this|is it|do you see|is shown)?",
        "(Which|What) (geometric |)(figure|form|shape) (can you see|do you see|is drawn|appears)?",
        "Shape of the (object|{c} object|thing)?",
        "What (is the shape|shape does the object have|shape has the object)?",
    ],
    "place": [
        "(Where|Where's|Wheres) (it|the {x})?",
        "The {x} is where?",
        "On (which|what) side is the {x}?",
        "(Left, right, top or bottom|Top or bottom, left or right): where is the {x}?",
        "Where is (the|this) {x}(| in the picture| in the image| in this photo)?",
        "(In which|In what) (part|corner|area|region) (of the picture|of the image) is the {x}?",
        "(Where|At what place) (do you see|can you see|can I find) the {x}?",
        "(What is|What's|Give|Tell me|Name) the (position|place|location) of the {x}.",
        "(Which part of the image|What area of the picture) (contains|holds|shows) the {x}?",
        "(Locate|Find) the {x}(| in the image| in the picture).",
        "(Position|Location) of the {x}?",
    ],
    "count": [
        "How many?",
        "How many (of them|are there|things are there|do we have)?",
        "(Number|Count) please.",
        "(Can you|Could you|Please) count (the {xs}|them|all {xs})(|, please)?",
        "{xs}: how many?",
        "How many {xs} (are there|do you see|can you see|are shown)?",
        "How many {xs} are in (the picture|the image|this picture)?",
        "(Count|Count all) the {xs}(| in the picture| in the image).",
        "(What is|What's|Tell me|Give me|Say) the number of {xs}(| in the picture| in this image).",
        "(Number|Amount|Count) of {xs}?",
        "How many {xs}?",
        "(There are|I see|You see) how many {xs}?",
        "How many {xs} (does|can) (the|this) (picture|image) (contain|show)?",
    ],
    "number": [
        "(What|Which) number(| is it| is this)?",
        "(Number|Digits)?",
        "(Can|Could) you read (this|it|that)(|, please)?",
        "(Read|Read this|Read it|Transcribe|OCR)(| please|, please|.)",
        "What (is|was) (written|printed|handwritten|noted) (here|there|on it)?",
        "(What's|What is) (this|that) number?",
        "Which (number|digits) did (I|they|somebody) write(| here)?",
        "(What|Which) number (is|do you see|can you see|is shown|is printed|is written)"
        "(| in the picture| here| in the image)?",
        "(Read|Tell me|Give me|Say|Name) the number(| in the picture| in the image| shown).",
        "(What is|What's) the number(| in the picture| in this image| shown| printed here)?",
        "(Which|What) (digits|number|figures) (are|is) (in the picture|shown|printed|written)?",
        "(Read|Read out|Transcribe) the (digits|number|figures).",
        "(What does the picture say|What number does the image show|What number does the sign show)?",
    ],
    "see": [
        "(What's|Whats|What is) (this|that|here|it)?",
        "(Describe|Description)(|, please|.)",
        "What have (we|you) (got |)here?",
        "What (is there|is there to see|did I draw)?",
        "(Explain|Tell me about) (this|the picture|my picture|the image).",
        "(What is|What's) in (this|the) (picture|image|photo)?",
        "(Describe|Please describe|Explain|Summarize|Caption) (the|this) (image|picture|photo).",
        "(What|What things) do you see(| in the picture| in this image| here)?",
        "(What|What objects) can you see(| in the picture| in this image| here)?",
        "(What|What object) (is shown|is here|is visible|is this|does the picture show|does the image show)?",
        "(Tell me|Say) what (you see|is in the picture|this is|the picture shows).",
        "(Describe|Caption) (what you see|it|this).",
        "Write a caption(| for the image| for this picture).",
    ],
    "yes": [
        "({v}|Is it {v}), yes or no?",
        "Yes or no: is the {x} {v}?",
        "Is (it|this|that) {v}?",
        "(Is|Is it true that) the {x} {v}?",
        "(Is it|Would you say it is) a {v} {x}?",
        "(Is there|Do you see) a {v} {x}(| in the picture| in the image)?",
        "Does the (picture|image) show a {v} {x}?",
    ],
    "hear": [
        "(What's|Whats|What is) (this|that) (sound|noise|clip)?",
        "(What|Anything) (to hear|audible) (here|in it)?",
        "(Describe|Explain) it.",
        "What is it that I hear?",
        "What (do|can|did) you hear(| in the clip| in this recording| here)?",
        "(Describe|Please describe|Caption|Explain) (the|this) (sound|audio|recording|clip).",
        "(What is|What's) (in the|in this|on the) (audio|recording|clip|sound file)?",
        "(What|Which) sound (is this|is it|do you hear|is in the clip)?",
        "(Tell me|Say) what you hear.",
        "(Listen|Listen to this). What is it?",
        "What (kind of sound|sort of sound) is this?",
    ],
    "tone": [
        "(High|Low|Middle) or (low|high|middle)?",
        "(Pitch|The pitch)?",
        "(Does it sound|Is the sound|Is this sound) (high, low or in the middle|low, middle or high|high or low)?",
        "Is (the|this) (tone|sound|note|pitch) low, middle or high?",
        "(How|What is|How would you describe) the pitch(| of the tone| of this sound)(?|, low, middle or high?)",
        "(Low, middle or high|High, middle or low) (tone|pitch|note|sound)?",
        "(What|Which) pitch (is it|is this|does the tone have|do you hear)?",
        "How high is (the|this) (tone|sound|note)?",
        "(Name|Tell me|Give) the pitch(| of the tone| of the sound).",
        "(Is the pitch|Is it) low, middle or high?",
    ],
    "beeps": [
        "How many (beeps|times)?",
        "(beeps|Beeps|Beep count)?",
        "(Can|Could) you count (the beeps|them|how often it beeps)?",
        "How many (beeps|sounds|signals|tones|pips) (are there|do you hear|can you hear|are in the clip|did you hear)?",
        "(Count|Count all) the (beeps|sounds|signals|tones|pips)(| in the clip| in the recording).",
        "(What is|What's|Tell me|Give me) the number of (beeps|sounds|signals|tones|pips).",
        "(How often|How many times) (does it beep|did it beep|does the signal sound|is there a beep)?",
        "(Number|Count) of (beeps|sounds|signals|tones)?",
    ],
    "digits": [
        "(Transcript|Transcription|Transcribe|Transcribe this|Transcribe it)(|.|?|, please.)",
        "(What|What's|Whats) (did he say|did she say|was that|is he saying|is she saying|does it say)?",
        "(Which|What) words (do you hear|are spoken|are said)?",
        "(Write down|Type|Note) (the words|every word|what you hear|what is said).",
        "(Please|Can you|Could you) (transcribe|write down what is said|turn it into text)(| please)?",
        "(Transcribe|Write down|Type|Note) (the|this) "
        "(speech|audio|recording|clip|speech segment|digits|spoken digits|numbers).",
        "(What|Which) (digits|numbers|number) (are spoken|is spoken|do you hear|does the voice say|is said|are said)?",
        "What (does the voice|does the speaker|does the person|did they) say?",
        "(What is|What's|What was) (said|spoken|being said)(| in the recording| in the clip| here)?",
        "(Write|Give me|Tell me) (the digits|the numbers|the spoken digits|what is said).",
        "Transcribe the following speech segment in English into English text.",
        "(Speech to text|Transcribe|Transcription), please.",
    ],
    "motion": [
        "(Left or right, up or down|Up, down, left or right)?",
        "(Which|What) (way|direction)?",
        "(It|The {x}) (moves|goes) where?",
        "Where (is it going|does it go|is it heading|did it go)?",
        "(Which|What|In which|In what) (direction|way) (does|did) the {x} (move|go|travel)?",
        "(Where|Which way) (does|is|did) the {x} (move|moving|go|going) (to|)?",
        "(What is|What's|Name|Tell me|Give) the direction of (the motion|motion|the movement|the {x}).",
        "(Does|Is) the {x} (move|moving|go|going) left, right, up or down?",
        "(How|Where) does the {x} move?",
        "(Direction|Motion|Movement) of the {x}?",
    ],
    "happens": [
        "(What's|Whats) (happening|going on)(| here| in it)?",
        "What (happens|happened)(| here)?",
        "(Describe|Summarize)(| it|, please|.)",
        "What (happens|is happening|is going on|goes on) in (the|this) (video|clip|movie)?",
        "(Describe|Please describe|Summarize|Caption|Explain) (the|this) (video|clip|movie).",
        "What (do|can) you see in (the|this) (video|clip|movie)?",
        "(Tell me|Say) what happens(| in the video| in the clip).",
        "(What is|What's) (the video|this video|the clip) about?",
        "What does the (video|clip) show?",
    ],
    "copy": [
        "(echo|repeat|say|copy): {x}",
        "(Say|Repeat|Write|Copy) (this |)(word for word|exactly|unchanged|verbatim): {x}",
        "(Please |)(repeat|copy) (the|this) (sentence|line|text|code|passage)(| below)(:|.) {x}",
        "(Copy|Repeat|Write) the following (text|line|sentence|code|words):\n{x}",
        "{x}\n\n(Repeat|Copy) the text above.",
        "(Would|Will|Can) you (please |)(repeat|say|write|copy|echo|type) (this|the following|that|it)"
        "(| for me| once more| again| back): {x}",
        "(Text|Words|Input|Message|Sentence|Line) to (repeat|copy|echo|write): {x}",
        "(Your|The) (answer|reply|output) (is|should be|must be|shall be): {x}",
        "(Read|Take) this and (say|write|give) it (again|once more|back)(| to me): {x}",
        "(I say|I write|My words are): {x}\n(What did I say?|What did I write?|Say it back.|Write it again.)",
        "(Return|Give back|Reproduce|Quote|Mirror) (this|the text|these words|the words|the line)(| as it is): {x}",
        '(Repeat|Say|Write|Copy|Type|Echo) "{x}"(.|)',
        "(Repeat|Say|Write|Copy|Echo|Type) (after me|this|the following|exactly): {x}",
        "(Repeat|Say|Write|Copy|Echo) (the words|the text|these words)(:| exactly:) {x}",
        "(Please repeat|Please say|Please copy|Can you repeat|Now say): {x}",
        "{x}\n(Repeat|Say|Copy|Write) (that|this|it)(| again).",
    ],
    "sum": [
        "{a} and {b}, how much (is that|together)?",
        "(whats|what is|how much is) {a}+{b}",
        "{a} + {b} = ?",
        "(Please add|Add) {b} to {a}.",
        "(Could|Can) you (add|sum) {a} and {b}(| please)?",
        "(What is|What's|Calculate|Compute|Give me|Tell me) {a} (plus|+|and) {b}(?|.|)",
        "(Add|Add up|Sum|Sum up) {a} (and|to|plus|+) {b}.",
        "(What is|What's|Find|Give) the (sum|total) of {a} and {b}(?|.)",
        "{a} (+|plus) {b} (=|= ?|equals|is|makes)",
        "How much is {a} (+|plus|and) {b}?",
        "{a}(+| + ){b}",
        "(Work out|Solve|Evaluate) {a} (+|plus) {b}.",
        "(If you add|Adding) {a} and {b}, what (do you get|is the result)?",
        "I have {a} (apples|coins|books) and (get|buy|find) {b} more. How many (do I have|are there)?",
    ],
    "recall": [
        "{x}: (which|what) (code|number)?",
        "(What|What's|Whats) the (code|number)(| again), the one (of|for) the {x}?",
        "I forgot the (code|number) (of|for) the {x}(.|, what was it?)",
        "(According to the text|In the text above), (what|which) (code|number) (does the {x} have|has the {x})?",
        "(What is|What's|Tell me|Give me) the (code|number) (of|for) (the |){x}(?|.)",
        "(Which|What) (code|number) (does|did) (the |){x} have?",
        "(What code|Which number) (belongs|goes) to (the |){x}?",
        "(Do you remember|Can you recall|Recall|Find) the (code|number) (of|for) (the |){x}(?|.)",
        "(Code|Number) (of|for) (the |){x}?",
    ],
}

HELD: dict[str, list[str]] = {
    "colour": [
        "Which color would you call the {x}?",
        "Can you tell me what colour the {x} is?",
        "The colour of the {x}, please.",
    ],
    "shape": ["Can you tell me which shape this is?", "What shape do we have here?", "Please name the shape you see."],
    "place": [
        "Whereabouts in the picture is the {x}?",
        "Can you tell me where the {x} is?",
        "Where in the frame do we find the {x}?",
    ],
    "count": [
        "Can you count the {xs} for me?",
        "How many {xs} can be seen here?",
        "Please tell me how many {xs} there are.",
    ],
    "number": [
        "Can you read the number for me?",
        "Which number does this picture show?",
        "Please read the printed number.",
    ],
    "see": ["Can you describe this picture?", "What does this image show?", "Please tell me what is in the image."],
    "yes": ["Can you see a {v} {x} here?", "Is this {x} {v}?", "Would you say the {x} is {v}?"],
    "hear": [
        "Can you describe what you hear?",
        "What can be heard in this clip?",
        "Please tell me what this sound is.",
    ],
    "tone": [
        "Would you call this tone low, middle or high?",
        "Is that a low, middle or high pitch?",
        "Please judge the pitch of the sound.",
    ],
    "beeps": [
        "Can you count the beeps for me?",
        "How many beeps does the clip contain?",
        "Please tell me how many beeps you hear.",
    ],
    "digits": [
        "Can you transcribe this recording?",
        "Please write down the digits you hear.",
        "Which digits does the speaker say?",
    ],
    "motion": [
        "Can you tell me which way the {x} moves?",
        "Towards which side does the {x} move?",
        "Please name the direction the {x} takes.",
    ],
    "happens": ["Can you describe this video?", "What is shown in the video?", "Please tell me what happens here."],
    "copy": ["Could you say this back to me: {x}", "Write the same words again: {x}"],
    "sum": ["Could you add {a} and {b} for me?", "What do {a} and {b} make together?", "Please compute {a} plus {b}."],
    "recall": [
        "Can you tell me the code for the {x}?",
        "Which code was given for the {x}?",
        "Please repeat the code of the {x}.",
    ],
}

_OPENERS = [
    "please ",
    "Pls ",
    "Hey, ",
    "Quick question: ",
    "So, ",
    "Please answer: ",
    "Tell me: ",
    "Question: ",
    "Hi! ",
    "Hello. ",
    "OK, ",
    "Look closely. ",
    "Now ",
]
_CLOSERS = [
    " Answer briefly.",
    " Answer in one word.",
    " Thanks!",
    " Be brief.",
    " Please.",
    " Just the answer.",
    " pls",
    " Thank you.",
]


def expand(rng: random.Random, grammar: str) -> str:
    """Choose one alternative of every (a|b) group."""
    while match := _ALTERNATIVES.search(grammar):
        grammar = grammar[: match.start()] + rng.choice(match[1].split("|")) + grammar[match.end() :]
    return " ".join(grammar.split(" ")).replace("  ", " ").replace(" ?", "?") if "=" not in grammar else grammar


def _plain(form: str) -> str:
    return form.strip(" .?!").lower()


_KEPT = {task: {_plain(form) for form in forms} for task, forms in HELD.items()}


def _training_form(rng: random.Random, task: str) -> str:
    """A question with its slots still open; never one of the held-out sentences."""
    while True:
        kind = rng.random()
        if kind < 0.3 and task in CLAUSES:
            form = rng.choice(FRAMES).replace("{clause}", rng.choice(CLAUSES[task]))
        elif kind < 0.55 and task in ORDERS:
            form = rng.choice(ORDER_FRAMES).replace("{order}", rng.choice(ORDERS[task]))
        else:
            form = rng.choice(TRAIN[task])
        text = expand(rng, form)
        if _plain(text) not in _KEPT[task]:
            return text


def framed(rng: random.Random, clause: str | None, order: str | None) -> str:
    """A clause or an order inside a polite frame."""
    if order is None or (clause is not None and rng.random() < 0.5):
        return expand(rng, rng.choice(FRAMES).replace("{clause}", clause or ""))
    return expand(rng, rng.choice(ORDER_FRAMES).replace("{order}", order))


def ask(rng: random.Random, task: str, held_out: bool, **slots: object) -> str:
    """A question for `task`, from the held-out sentences or from the training grammar with casual variations."""
    if held_out:
        return rng.choice(HELD[task]).format(**slots)
    text = _training_form(rng, task).format(**slots)
    if task == "copy":
        return text
    return varied(rng, text)


def varied(rng: random.Random, text: str) -> str:
    """As people type: some questions get an opener or a closer, lose capitals and marks, or have a letter wrong."""
    if rng.random() < 0.12:
        text = rng.choice(_OPENERS) + text
    if rng.random() < 0.12:
        text += rng.choice(_CLOSERS)
    if rng.random() < 0.2:
        text = text.lower()
    if rng.random() < 0.2:
        text = text.rstrip(" .?!") + rng.choice(["", "", "", "??", "...", " ?", "!"])
    if rng.random() < 0.15:
        text = text.replace("'", rng.choice(["\u2019", ""]))
    return mistyped(rng, text) if rng.random() < 0.1 else text


def mistyped(rng: random.Random, text: str) -> str:
    """One letter of one longer word doubled, lost, wrong or swapped with the next; figures and names stay."""
    words = text.split(" ")
    long = [i for i, word in enumerate(words) if len(word) > 3 and word.isalpha() and word.islower()]
    if not long:
        return text
    at = rng.choice(long)
    word = words[at]
    i = rng.randrange(1, len(word) - 1)
    kind = rng.randrange(4)
    middle = [word[i] * 2, "", rng.choice("abcdefghijklmnopqrstuvwxyz"), word[i + 1] + word[i]][kind]
    words[at] = word[:i] + middle + word[i + (2 if kind == 3 else 1) :]
    return " ".join(words)
