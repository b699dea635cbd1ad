"""Patterns of event types and accounts, as in `channelape.*` and `ecomnow/*`: `*` stands for anything."""

from collections.abc import Iterable


def fits(name: str, patterns: Iterable[str]) -> bool:
    """Whether any of them fits. `crossdock.fits` says the same in SQL."""
    return any(pattern == "*" or pattern == name or ("*" in pattern and _fits(name, pattern)) for pattern in patterns)


def _fits(name: str, pattern: str) -> bool:
    """By leftmost finds, in O(name x pattern): subscribers write patterns, and a regex of many `.*` would backtrack."""
    first, *middle, last = pattern.split("*")
    at, end = len(first), len(name) - len(last)
    if at > end or not name.startswith(first) or not name.endswith(last):
        return False
    for part in middle:
        found = name.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True
