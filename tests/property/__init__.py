"""Properties that hold for all inputs, which Hypothesis draws.

`make test` draws the same inputs for the same code; `--hypothesis-profile explore` draws others, ten times as many.
Begin with `test_store_order`: any order of arrival gives the same rows.
"""
