"""Unit tests of the operator console's pure parts.

What needs a database or a console that listens is tested in `tests/integration/console`.
Begin with `test_state`, the sentence above every document.
"""
