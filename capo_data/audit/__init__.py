"""How far a run's scores and rationales can be trusted.

    rows -> variants -> asking -> figures -> report (audit.json, figures, table), a section of the card

A *variant* is an instance that was changed in one respect (another's history, another order, another form of
the title), or not at all; it goes to the judge through the same prompts as the original, and its score is
compared with the one in the dataset.
"""
