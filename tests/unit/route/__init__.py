"""How orders are routed: conditions, shares, distances and verdicts, as pure functions.

Answers over a queue are tested in `tests.integration`.
Begin with `test_answers`, and `orders` for the orders that it answers.
"""
