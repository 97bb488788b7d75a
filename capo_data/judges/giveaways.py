"""Words of a rationale that give the protocol away."""

from __future__ import annotations

import re

# Rationales become training responses, so they must not show that their writer knew what was bought or
# that a score was asked for (PROTOCOL, Judge). A third person ("the user will buy") is a giveaway; the
# first person of a quoted review ("will buy again", "I give it 5 stars"), a customer's own rating ("rated
# it Excellent", "a rating of 5 stars"), "scored a deal" and the score of a film are not. In the patterns
# a space stands for any white space, and each begins and ends at a word's edge.
_PERSON = "(?:users?|customers?|shoppers?|buyers?|consumers?|clients?|readers?|viewers?|listeners?|they|s?he)"
_BUY = "(?:purchas(?:e|ed|ing)|buy(?:ing)?|bought|order(?:ed)?|choos(?:e|ing)|chosen|select(?:ed)?)"
_ADVERB = "(?:(?:actually|indeed|then|next|eventually|ultimately|subsequently|later) )?"
_WILL = "(?:will|(?:is|are) (?:going|about|known|said) to)"
_NOT_AGAIN = "(?! (?:(?:it|this|them) )?(?:again|more|another))"
_MATCH = "(?:it|this|them|the match|(?:this|the) item)"
_DEGREE = (
    "(?:(?:very|slightly|fairly|moderately|relatively|rather|low(?:er|est)?|weak|moderate|medium|middling|"
    "neutral|decent|good|strong(?:er)?|high(?:er|est)?|top|perfect|full|m(?:ax|in)imum|final|overall) )*"
)
_AWARD = r"(?:deserv|warrant|merit|justif|assign|award|lower|reduc|rais)\w*"
_GIVE = r"(?:support|get|receiv|earn|giv|suggest|reflect|indicat)\w*"
_SEVEN = r"""[*_"']*[1-7](?:\.\d+)?(?!\.?\d)"""
_SEVEN_ENDS = r"""(?=\s*(?:[.,;:!?)*_"']|$|(?:out of|of|/)\s*7|(?:on|for|because|since|as|given|due)\b))"""
_OTHER_SCALE = r"(?![-\s]*(?:stars?\b|out of (?:5|10)\b|/\s*(?:5|10)\b|%))"
_WORDS = "(?:one|two|three|four|five|six|seven)"
GIVEAWAYS: tuple[tuple[str, str], ...] = (
    ("the next item", r"next[\s-](?:(?:purchased|bought|chosen) )?items?"),
    ("the next item", "items? (?:purchased|bought|chosen) next"),
    ("told what was bought", f"{_PERSON} {_ADVERB}{_WILL} {_ADVERB}(?:have )?{_BUY}{_NOT_AGAIN}"),
    ("told what was bought", "will be (?:purchased|bought|chosen|selected)"),
    ("the actual choice", "actual (?:next )?(?:purchases?|choice|selection)|actual next item"),
    ("the actual choice", "actually (?:purchased|bought|chose|selected) (?:this|the) (?:item|product)"),
    ("the actual choice", r"ground[\s-]truth|target item|correct answer"),
    ("coherence", "coherence"),
    ("a score", rf"score(?: of| is| at| as| to be|\s*[:=])? {_SEVEN}{_OTHER_SCALE}"),
    ("a score", rf"rating(?: of| is| at| as| to be|\s*[:=])? {_SEVEN}{_SEVEN_ENDS}{_OTHER_SCALE}"),
    ("a score", f"(?:score|rating) of {_WORDS}(?! (?:of|stars?|out))"),
    ("a score", f"(?:scor|rat)(?:e[sd]?|ing) (?:{_MATCH} )?(?:an? |as )?{_SEVEN}{_SEVEN_ENDS}"),
    ("a score", rf"(?:[1-7]|{_WORDS}) out of (?:7|seven)|(?<![\d/])[1-7]\s*/\s*7(?!\s*(?:/|scale))"),
    ("a score", r"scale (?:of|from) (?:1|one)|1\s*(?:-|–|to)\s*7 scale|(?:7|seven)[\s-]point scale"),
    ("a score", f"{_AWARD} (?:{_MATCH} )?(?:an?|the|my|this|its) {_DEGREE}score"),
    ("a score", f"{_GIVE} (?:{_MATCH} )?(?:an?|my) {_DEGREE}score"),
    ("a score", "(?:my|final|given|assigned) (?:score|rating) (?:is|of|would|will|should|reflects?)"),
    ("a score", "(?:score|rating) is (?:warranted|justified|appropriate|deserved|given|assigned)"),
    ("the prompt's sections", r"\[\s*(?:(?:purchase )?history|candidates?|next item|instructions?)\s*\]"),
    ("the prompt's sections", r"\[\s*(?:candidate (?:list|items?|set)|role)\s*\]"),
    ("the candidate list", r"candidates?[\s-](?:list|set|items?|products?|pool)"),
    ("the candidate list", "(?:list|set|pool) of candidates?|(?:other|remaining|all) candidates"),
    ("the task", "(?:in|by) (?:the|this|your) prompt|the prompt (?:says|states|asks|gives|tells)"),
    ("the task", "as instructed|as an? (?:ai|evaluator|judge|rater|language model)"),
)
_ANY_GIVEAWAY = "|".join(f"(?:{pattern})" for _, pattern in GIVEAWAYS).replace(" ", r"\s+")
_GIVEAWAYS = re.compile(rf"(?<!\w)(?:{_ANY_GIVEAWAY})(?!\w)", re.IGNORECASE)


def giveaway(rationale: str) -> str | None:
    """The first words of a rationale that give the protocol away, or None.

    Looks for the patterns of `GIVEAWAYS`: the "next item", having been told what was bought ("the user
    will purchase", "the actual purchase"), the score that was asked for ("a score of 6", "6 out of 7",
    "coherence"), the prompt's own sections ("[Purchase History]", "candidate list") and the task itself.
    `validate` applies the same function to released rationales.

    Args:
        rationale: Text of a rationale, without its tags.

    Returns:
        The offending words as they stand in the text.
    """
    match = _GIVEAWAYS.search(rationale)
    return None if match is None else match[0]
