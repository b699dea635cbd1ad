"""One attempt: one POST to an address that the guard allows, and what came of it.

No schedule, no subscription, no database: whatever happens is returned as an `Answer` and never raised.
Begin with `sender.Sender.send`, then `connector` (where the guard is applied) and `connection` (HTTP/1.1).
"""
