"""What both sides of a queue agree on: platforms, envelope, topology, CloudEvents, configuration.

Nothing here opens a socket, reads a clock or knows an event loop.
Begin with `platform.py`, then one folder of `platforms/`, then `envelope.py` and `documents.py`.
"""
