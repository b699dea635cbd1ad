"""Helpers that several test modules share: running processes, real servers, receivers and stored rows.

Nothing here is a test.
Begin with `shell` (runs the command line) and `pipeline` (a whole Crossdock in the test's own process).
"""
