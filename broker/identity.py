"""What each message is called: an id and a trace context. For the thread of the loop."""

import random
import re
import time

_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_generator = random.Random(random.SystemRandom().getrandbits(256))  # noqa: S311 - unique, not secret; seeded by the system
_AT_ONCE = 128
"""As many are made at once, of one draw: each alone costs twice as much, and an ingress makes one of both a post."""
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
"""Digits with RFC 9562's first two bits; the other two stay as they were drawn."""
_endings: list[str] = []
"""Of ids, behind their version."""
_traces: list[str] = []
_moment = (0, "")
"""Of the last id: its millisecond, and how the ids of that begin."""


def message_id() -> str:
    """A UUID of version 7 (RFC 9562): 48 bits of milliseconds, then random, so that ids sort by time."""
    global _moment
    moment, begin = _moment
    now = time.time_ns() // 1_000_000
    if now != moment:
        text = f"{now:012x}"
        begin = f"{text[:8]}-{text[8:]}-7"
        _moment = (now, begin)
    if not _endings:
        _endings.extend([f"{d[:3]}-{_VARIANT[d[3]]}{d[4:7]}-{d[7:]}" for d in _drawn(19)])
    return begin + _endings.pop()


def is_traceparent(value: object) -> bool:
    """Whether it is a valid W3C trace context of version 00."""
    return isinstance(value, str) and _TRACEPARENT.fullmatch(value) is not None


def traceparent(received: str | None) -> str:
    """The sender's W3C trace context where it sent a valid one, else the start of a new trace."""
    if received is not None and _TRACEPARENT.fullmatch(received):
        return received
    if not _traces:
        # Neither part may be all zeros. The last digits stay as they were drawn: samplers look at those.
        _traces.extend([f"00-1{d[:31]}-1{d[31:]}-01" for d in _drawn(46)])
    return _traces.pop()


def _drawn(length: int) -> list[str]:
    """Random hexadecimal digits, `length` at a time."""
    digits = _generator.randbytes(length * _AT_ONCE // 2).hex()
    return [digits[start : start + length] for start in range(0, len(digits), length)]
