"""Create the ids and trace contexts of messages; only for the thread of the event loop."""

import random
import re
import time

_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_generator = random.Random(random.SystemRandom().getrandbits(256))  # noqa: S311 - unique, not secret; seeded by the system
_AT_ONCE = 128
"""Number of values created from one draw of random digits.

Drawing each value separately costs twice as much, and an ingress needs one of both kinds per request.
"""
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
"""Hexadecimal digits whose first two bits are the variant of RFC 9562; the other two bits stay random."""
_endings: list[str] = []
"""Prepared ids without their timestamp and version digit."""
_traces: list[str] = []
"""Prepared trace contexts, each of which starts a new trace."""
_moment = (0, "")
"""The millisecond of the newest id, and the text that all ids of that millisecond begin with."""


def message_id() -> str:
    """Return a new UUID of version 7 (RFC 9562): 48 bits of milliseconds, then random bits; ids sort by time."""
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
    """Return whether the value is a valid W3C trace context of version 00."""
    return isinstance(value, str) and _TRACEPARENT.fullmatch(value) is not None


def traceparent(received: str | None) -> str:
    """Return the sender's W3C trace context if it is valid, otherwise the start of a new trace."""
    if received is not None and _TRACEPARENT.fullmatch(received):
        return received
    if not _traces:
        # Neither part may be all zeros. The last digits stay random, because samplers use them.
        _traces.extend([f"00-1{d[:31]}-1{d[31:]}-01" for d in _drawn(46)])
    return _traces.pop()


def _drawn(length: int) -> list[str]:
    """Return `_AT_ONCE` strings of `length` random hexadecimal digits."""
    digits = _generator.randbytes(length * _AT_ONCE // 2).hex()
    return [digits[start : start + length] for start in range(0, len(digits), length)]
