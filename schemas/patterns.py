"""Patterns of event types and accounts, such as `channelape.*` and `ecomnow/*`: `*` matches any text."""

from collections.abc import Iterable


def fits(name: str, patterns: Iterable[str]) -> bool:
    """Return whether any of `patterns` matches `name`. The SQL function `crossdock.fits` is its equivalent."""
    return any(pattern == "*" or pattern == name or ("*" in pattern and _fits(name, pattern)) for pattern in patterns)


def _fits(name: str, pattern: str) -> bool:
    """Match by leftmost search, in O(name x pattern).

    Subscribers write the patterns, and a regular expression with many `.*` would backtrack.
    """
    first, *middle, last = pattern.split("*")
    at, end = len(first), len(name) - len(last)
    if at > end or not name.startswith(first) or not name.endswith(last):
        return False
    for part in middle:
        start = name.find(part, at, end)
        if start < 0:
            return False
        at = start + len(part)
    return True
