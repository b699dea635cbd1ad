"""The dialects in which subscribers are called, held against receivers as their platforms document them.

Nothing is sent here.
Begin with `test_dialects`: what holds for each dialect.
"""
