"""One folder per platform, found by `schemas.registry`: configuration, wire format, signing, identity, examples.

Nothing here opens a socket, and no folder imports another platform's.
Begin with `channelape/`, and `schemas/platform.py` for the interface.
"""
