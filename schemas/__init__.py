"""What both sides of a queue agree on: platforms, dialects, message properties, topology, configuration shapes.

Pure: no sockets, no event loop, no database, no clock but `envelope.now`, and no import of another package of ours.
Begin with `platform` (the interface of a platform), then `documents` (bytes to a document) and `topology` (queues).
"""
