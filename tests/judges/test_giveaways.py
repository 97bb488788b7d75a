"""What a rationale may not say, and what it may."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capo_data.judges.giveaways import giveaway


@pytest.mark.parametrize(
    "text",
    [
        "The next item fits.",
        "It makes sense that the user will purchase this.",
        "The customer will then buy it.",
        "Eventually the shopper is going to order the boots.",
        "The actual purchase was a surprise.",
        "A score of 6 seems right.",
        "Score: 6",
        "I rate this a 5 because of the socks.",
        "So I would score it 4.",
        "That makes it a 6 out of 7.",
        "A solid 6/7.",
        "I settle on a rating of **5**, as the link is clear.",
        "A rating of six is fair.",
        "On a scale of 1 to 7 this is high.",
        "This deserves a high score.",
        "My rating is generous.",
        "The logical coherence is strong.",
        "As the [Purchase History] shows,",
        "Unlike the others in the candidate list,",
        "Among the other candidates it stands out.",
        "As a language model I see a pattern.",
    ],
)
def test_words_that_give_the_protocol_away_are_found(text):
    assert giveaway(text) is not None
    assert giveaway(text).lower() in text.lower()


@pytest.mark.parametrize(
    "text",
    [
        "The shopper praised merino socks twice, and these boots suit the same walks.",
        "She rated it Excellent.",
        "He scored a deal on these.",
        "The rating of the product by the customer is 'Excellent'.",
        "One review closes with 'will buy again'.",
        "The customer will buy it again.",
        "A rating of 5 stars says enough.",
        "They gave it 4.5 stars, rated 5/5 by many.",
        "Rated one of the best, it is one of her favourites.",
        "The film's score by Hans Zimmer is haunting; it is a strong score.",
        "A 1/7 scale figure for the shelf.",
        "Thanks to the prompt delivery the actual item arrived early.",
        "It sits next to the items that he bought in May.",
        "A pack of 7 lasts a week, 24/7.",
        "As a gift it suits the next step of the routine.",
    ],
)
def test_words_of_the_trade_are_not(text):
    assert giveaway(text) is None


@given(st.text(max_size=300))
def test_a_giveaway_is_quoted_from_the_text(text):
    words = giveaway(text)
    assert words is None or words in text
