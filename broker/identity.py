"""What each message is called: an id and a trace context."""

import random
import re
import time

_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_bits = random.SystemRandom().getrandbits
_generator = random.Random(_bits(256))  # noqa: S311 - ids are unique, not secret; seeded from the system once


def message_id() -> str:
    """A UUID of version 7 (RFC 9562): 48 bits of milliseconds, then random, so that ids sort by time."""
    value = (time.time_ns() // 1_000_000) << 80 | _generator.getrandbits(80)
    value = value & ~(0xF000 << 64) | 0x7000 << 64
    value = value & ~(0xC000 << 48) | 0x8000 << 48
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def is_traceparent(value: object) -> bool:
    """Whether it is a valid W3C trace context of version 00."""
    return isinstance(value, str) and _TRACEPARENT.fullmatch(value) is not None


def traceparent(received: str | None) -> str:
    """The sender's W3C trace context where it sent a valid one, else the start of a new trace."""
    if received is not None and _TRACEPARENT.fullmatch(received):
        return received
    return f"00-{_generator.getrandbits(128) | 1:032x}-{_generator.getrandbits(64) | 1:016x}-01"
