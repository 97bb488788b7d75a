"""What the simulated shop sells and how its customers write: all words are the project's own."""

from __future__ import annotations

# Department -> nouns, materials. Nouns are singular so that every sentence below fits every item.
DEPARTMENTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "kitchen linen": (
        ("apron", "tea towel", "oven glove", "bread bag", "table runner", "napkin"),
        ("linen", "cotton", "canvas", "hemp"),
    ),
    "cookware": (
        ("saucepan", "skillet", "kettle", "mixing bowl", "colander", "milk pan"),
        ("steel", "copper", "cast iron", "enamel"),
    ),
    "tableware": (
        ("mug", "soup bowl", "dinner plate", "serving dish", "teapot", "water jug"),
        ("stoneware", "porcelain", "glass", "enamel"),
    ),
    "woodwork": (
        ("chopping board", "serving tray", "ladle", "bread bin", "trivet", "knife block"),
        ("oak", "walnut", "bamboo", "beech"),
    ),
    "stationery": (
        ("notebook", "letter holder", "pencil case", "folio", "bookmark", "desk pad"),
        ("paper", "leather", "cork", "felt"),
    ),
    "bags": (
        ("satchel", "tote bag", "rucksack", "wallet", "washbag", "belt bag"),
        ("leather", "canvas", "felt", "hemp"),
    ),
    "bedding": (
        ("blanket", "cushion", "throw", "bedspread", "pillowcase", "bedside rug"),
        ("wool", "linen", "cotton", "felt"),
    ),
    "lighting": (
        ("table lamp", "lantern", "candle holder", "pendant lamp", "wall light", "reading lamp"),
        ("brass", "glass", "copper", "steel"),
    ),
    "garden ware": (
        ("planter", "bird feeder", "bird bath", "plant stand", "window box", "sundial"),
        ("steel", "copper", "oak", "stoneware"),
    ),
    "toys": (
        ("block set", "puzzle", "spinning top", "pull-along duck", "skittle set", "toy train"),
        ("beech", "walnut", "bamboo", "felt"),
    ),
    "knitwear": (
        ("scarf", "cap", "cardigan", "mitten set", "sock set", "waistcoat"),
        ("wool", "cotton", "cashmere", "linen"),
    ),
    "bathroom ware": (
        ("soap dish", "tumbler", "vanity tray", "tissue box", "storage jar", "brush holder"),
        ("bamboo", "cork", "stoneware", "glass"),
    ),
}

BRANDS = (
    "Harrow & Pine", "Tidewell", "Corbie House", "Aldermoor", "Fennick", "Lowmere", "Bramble Row",
    "Ostler & Daughters", "Kestrel Yard", "Mossgate", "Pellowyn", "Quillfeather", "Saltbox Lane",
    "Thornby", "Umberlight", "Wrenfield", "Yarrowdale", "Larkspur Mill", "Hobbinet", "Dunmarrow",
    "Ivelstone", "Cinderlow", "Northwick Supply", "Gablewright",
)  # fmt: skip

COLOURS = (
    "sage green", "slate blue", "mustard", "terracotta", "charcoal", "ivory",
    "plum", "forest green", "sky blue", "rose", "sand", "ink black",
)  # fmt: skip

# Style -> what the description says of it.
STYLES = {
    "rustic": "Its rustic look comes from uneven edges and marks of the hand that are left as they are.",
    "minimal": "The minimal design leaves out everything that could be left out.",
    "vintage": "A vintage shape from a pattern book that was found in an attic.",
    "Nordic": "Nordic lines, light and calm, made to stand beside anything.",
    "playful": "A playful piece with one odd detail that guests notice at once.",
    "industrial": "The industrial style shows every rivet, seam and screw.",
    "floral": "A floral pattern of meadow flowers runs around it.",
    "striped": "Finely striped, with a band of colour that differs from piece to piece.",
    "classic": "A classic that our workshop has made in the same way for decades.",
    "botanical": "Botanical drawings of leaves and ferns give it its character.",
}

# What an item is made for.
PURPOSES = (
    "everyday use", "small flats", "long journeys", "slow Sundays", "big families", "quiet evenings",
    "rainy days", "keen beginners", "serious collectors", "tidy households", "summer picnics",
    "winter nights",
)  # fmt: skip

# How a review begins, by stars.
OPENERS: dict[int, tuple[str, ...]] = {
    1: (
        "A complete disappointment from the moment I unpacked it.",
        "I sent this back the same week and was glad to see it go.",
        "Awful, and I cannot say it more kindly.",
        "I regret this one and would warn my friends about it.",
    ),
    2: (
        "Not what I had hoped for, to put it mildly.",
        "I wanted to like this but could not bring myself to.",
        "It works, but I keep reaching for my old one instead.",
        "A let-down in most of the ways that matter to me.",
    ),
    3: (
        "It is all right, no more and no less.",
        "I am in two minds about this one.",
        "Decent enough, though I would not go out of my way for it.",
        "It does what it says and I have little to add.",
    ),
    4: (
        "A good find that I have used nearly every day since.",
        "I am pleased with this and would happily get it again.",
        "Very nearly perfect for what I wanted.",
        "Well made and worth the money, with only small things to grumble about.",
    ),
    5: (
        "I love this and have told everybody about it.",
        "Exactly what I had been looking for all year.",
        "One of the best things I have brought home in a long time.",
        "Wonderful from the first day, and it only gets better.",
    ),
}

# What a review says of one attribute of the item: kind -> (put off, indifferent, pleased).
REMARKS: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "department": (
        (
            "I should have known by now that {value} and I simply do not get along.",
            "There is too much {value} in my home already and this did not change my mind.",
        ),
        (
            "I do not look at {value} very often, so I have little to compare it with.",
            "It sits with the other {value} and I hardly notice it.",
        ),
        (
            "I can never have enough {value}, and this one has earned the best spot in the house.",
            "My shelves are full of {value} and this still stands out among it all.",
        ),
    ),
    "brand": (
        (
            "{value} has let me down before, and I should have listened to myself this time.",
            "I do not understand why people praise {value}: the finish is careless once again.",
        ),
        (
            "I had not heard much of {value} before and have no strong feelings about them now.",
            "{value} packs things neatly, I will give them that much.",
        ),
        (
            "{value} never lets me down, and I would choose them again without thinking twice.",
            "Everything I own from {value} has lasted, and this is going the same way.",
        ),
    ),
    "material": (
        (
            "I cannot get used to {value}: it feels wrong in the hand and marks at the first touch.",
            "The {value} is what spoils it for me, I would have liked almost anything else better.",
        ),
        (
            "The {value} is neither here nor there for me, it simply does the job.",
            "It is {value}, as the label says, and that is fine.",
        ),
        (
            "The {value} feels lovely and still looks as good as new after weeks of use.",
            "I have a weakness for {value}, and here it is worked with real care.",
        ),
    ),
    "style": (
        (
            "The {value} look is not for me at all, it quarrels with everything else in the room.",
            "I find the {value} design tiresome, and so does everybody who visits.",
        ),
        (
            "Others may care about the {value} look, I only wanted something that works.",
            "It looks {value} enough in the picture and about the same on the table.",
        ),
        (
            "The {value} style is just my taste and fits with all that I have collected so far.",
            "What won me over is the {value} design, I look at it every time I walk past.",
        ),
    ),
    "purpose": (
        (
            "It is said to be made for {value}, which is the last thing I have in mind.",
            "If you do not care for {value}, and I do not, there is no reason to have it.",
        ),
        (
            "Whether it is really meant for {value} I could not say.",
            "They say it is for {value}; mine mostly stands in a corner.",
        ),
        (
            "It was made with {value} in mind, and that is precisely what I needed it for.",
            "For {value} I could not think of anything better than this.",
        ),
    ),
}
