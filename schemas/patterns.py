"""Patterns of event types and accounts, as in `channelape.*` and `ecomnow/*`: `*` stands for anything."""

import re
from collections.abc import Iterable
from functools import lru_cache


def fits(name: str, patterns: Iterable[str]) -> bool:
    """Whether any of them fits. `crossdock.fits` says the same in SQL."""
    return any(pattern == "*" or pattern == name or _compiled(pattern).fullmatch(name) for pattern in patterns)


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL)
