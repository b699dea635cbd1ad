"""The command line against real servers: what people and programs read, and exit codes.

What commands print without servers is tested in `tests.unit`.
Begin with `test_send`, which sets everything up from nothing.
"""
