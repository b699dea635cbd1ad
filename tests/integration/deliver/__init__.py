"""The deliver worker with a real database, against subscribers on real sockets.

Single attempts, and how they fail, are tested in `tests.unit.deliver`.
Begin with `test_events`: what is delivered, when, and what becomes of it.
"""
