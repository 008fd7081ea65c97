"""The questions of training as clauses and as orders, and the polite frames around them; a grammar as in phrases.py."""

# The same questions inside polite frames: what is asked as a clause ("where the star is") or as an order ("locate it").
CLAUSES: dict[str, list[str]] = {
    "colour": [
        "(what|which) (color|colour) the {x} (has|is painted in|is drawn in)",
        "the (color|colour) (of the {x}|the {x} has)",
        "in (what|which) (color|colour) the {x} is",
    ],
    "shape": [
        "(which|what) (shape|form|figure) (it is|the object is|is drawn|is in the picture|you see|we see)",
        "(what|which) (kind|type) of shape (this is|you see|is shown)",
        "the (shape|form) of the (object|{c} object|thing)",
    ],
    "place": [
        "where the {x} (sits|appears|is placed|can be found|is located|stands|lies)",
        "(in which|in what|which) (part|corner|area|region|side|place) (of the picture |of the image |)the {x} is",
        "the (position|whereabouts|place|location|spot) of the {x}",
        "where (in the picture|in the image|on the canvas|in the photo) the {x} (is|is placed|appears)",
    ],
    "count": [
        "how many {xs} (you see|you can see|the picture shows|are shown|are drawn|are there|we have)",
        "the (number|count|total) of {xs}(| in the picture| in the image)",
    ],
    "number": [
        "(which|what) (number|figure) (it is|is shown|you see|is printed|is in the picture|stands there)",
        "the (number|digits|figures) (in the picture|in the image|shown|printed here|you see)",
    ],
    "see": [
        "what (is in the picture|you see|you can see|the picture shows|is shown|is drawn here|the picture is about)",
        "what (object|objects|things) (you see|the picture shows|are shown)",
    ],
    "yes": ["(if|whether) the {x} is {v}", "(if|whether) (there is|you see|it shows) a {v} {x}"],
    "hear": ["what (you hear|the clip is|sound it is|is in the recording|the recording contains)"],
    "tone": [
        "(if|whether) the (tone|sound|note) is low, middle or high",
        "(how high|how low or high) the (tone|note|sound|pitch) is",
        "the pitch(| of the tone| you hear)",
    ],
    "beeps": [
        "how many (beeps|tones|signals|pips) (there are|you can hear|sound|are in the clip|come)",
        "the (number|count) of (beeps|signals|tones)",
        "how often it beeps",
    ],
    "digits": [
        "(what|which) (digits|numbers) (you hear|are spoken|are said|the voice says|the person says)",
        "what (is said|the voice says|you hear|the speaker says)",
        "the (digits|numbers) (you hear|that are spoken|in the clip)",
    ],
    "motion": [
        "(which|what) (way|direction) the {x} (goes|travels|moves in|takes|is going|is moving)",
        "(where|to which side|in which direction) the {x} (goes|travels|is going|is moving|moves)",
        "the direction (of the {x}|of motion|the {x} moves in)",
        "(if|whether) the {x} (goes|moves) left, right, up or down",
    ],
    "happens": ["what (happens|is going on|you see|is happening) in (the video|the clip|this video|the film)"],
    "sum": [
        "(what|how much) {a} (plus|and|+) {b} (is|makes|gives|make|are)",
        "the (sum|total) of {a} and {b}",
        "what (you get|the result is) (if you add|when you add|for) {a} (and|plus|+) {b}",
    ],
    "recall": [
        "(what|which) (code|number) the {x} (has|had)",
        "what the (code|number) (of|for) the {x} (is|was)",
        "the (code|number) (of|for) the {x}",
        "(which|what) (code|number) (was given to|belongs to|goes with|I gave for|was told for) the {x}",
    ],
}
ORDERS: dict[str, list[str]] = {
    "colour": [
        "(name|give|state|identify|say|determine) the (color|colour) of the {x}",
        "say what (color|colour) you see",
    ],
    "shape": [
        "(name|give|state|identify|say|determine) the (shape|form|figure)(| in the picture| of the object| shown)"
    ],
    "place": [
        "(locate|find|spot|look for) the {x}(| in the picture)",
        "(give|name|state|say|describe) the (position|location|whereabouts|place) of the {x}",
        "(point out|say|describe) where the {x} (is|sits|appears)",
    ],
    "count": ["count (|all |up )the {xs}(| in the picture| you see)", "(give|state|find) the number of {xs}"],
    "number": [
        "read (|out |aloud )the (number|digits)(| in the picture| you see)",
        "(give|write|state|type) the (number|digits) (shown|you see|in the picture)",
    ],
    "see": [
        "describe (the picture|the image|what you see|the photo|this)",
        "write a (short |)caption",
        "caption the image",
    ],
    "hear": ["describe (the sound|the clip|the recording|what is heard)", "listen and (describe it|say what it is)"],
    "tone": ["(name|give|state|judge|say) the pitch(| of the tone| you hear)", "say how high the (tone|sound) is"],
    "beeps": ["count (|all |up )the (beeps|signals|tones|pips)(| in the clip)", "(give|state) the number of beeps"],
    "digits": [
        "(transcribe|write down|type|note down|give) (the speech|the digits|the numbers|what you hear|what is said)",
        "(write|note) (|down )the (digits|numbers) (in the clip|that are spoken)",
    ],
    "motion": ["(name|give|state|say) the direction (of the {x}|of motion|of the movement)", "say where the {x} goes"],
    "happens": ["describe (the video|what happens|the clip|the film)", "(summarize|caption) the (video|clip)"],
    "sum": [
        "add {a} (and|to|plus) {b}",
        "(compute|calculate|work out|find|solve) {a} (+|and) {b}",
        "(find|give|compute) the sum of {a} and {b}",
    ],
    "recall": [
        "(find|give|recall|look up|say|state) the (code|number) (of|for) the {x}",
        "(say|tell me|write) which (code|number) the {x} has",
    ],
}
FRAMES = [
    "(Could|Would|Will) you (please |kindly |)(tell me|say|find out|let me know) {clause}?",
    "(I want to know|I'd like to know|I would like to know|I wonder|I need to know|I ask you) {clause}.",
    "(Please say|Please write|Let me know|Find out|Now say|Just say|Please work out) {clause}.",
    "Do you (know|see|understand) {clause}?",
]
ORDER_FRAMES = [
    "(Could|Would|Will) you (please |kindly |){order}(| for me)?",
    "(Please|Now|Now please|First|Kindly|Just) {order}(| for me).",
    "(I want you to|I'd like you to|Try to|Your task is to|You should|I need you to) {order}.",
    "Are you able to {order}?",
]
