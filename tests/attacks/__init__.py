"""Hostile and broken input: bodies, credentials, heads, connections and floods; `make faults` sends a million of them.

Ordinary mistakes of senders belong to `tests.reports`.
Begin with `parsers` (every reader of what others send) and `suite` (the attacks on running processes).
"""
