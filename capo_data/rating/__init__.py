"""How good a recommender's explanations are, 0 to 3 (PROTOCOL, Evaluation; Fig. 4 and Table 5 of the paper).

    generations -> drawn lines -> 0 by code, or asked -> ratings.jsonl -> table, figure

What names an incorrect item is 0 without a request; what "correct" means is named with `--correct`.
"""
