"""The console over real sockets, on a real database: what its pages show, and what its actions change.

What needs a browser belongs to `tests.browser`.
Begin with `test_login`: who gets in, and as whom.
"""
