"""One attempt: an HTTP POST to an address that the guard permits, and its result.

It knows nothing of schedules, subscriptions' state or the database.
Begin with `sender.py`.
"""
