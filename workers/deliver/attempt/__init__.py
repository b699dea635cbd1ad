"""One attempt: one POST to an address that the guard allows, and its result.

It knows no schedule, no subscription and no database. Every result is returned as an `AttemptResult`; none is raised.
Begin with `sender.Sender.send`, then `connector` (where the guard is applied) and `connection` (HTTP/1.1).
"""
