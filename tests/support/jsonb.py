"""JSON that PostgreSQL's `jsonb` accepts or rejects."""

from schemas import jsontext

JSONB: list[tuple[bytes, bool]] = [
    (b"{}", True),
    (b'"\\u0001\\u00e9\\ud83d\\ude00"', True),
    (b'"\\u0000"', False),
    (b'"\\\\u0000"', True),
    (b'"\\\\\\u0000"', False),
    (b'{"\\u0000":1}', False),
    (b'"\\ud83d"', False),
    (b'"\\ude00\\ud83d"', False),
    (b'"\\\\ud83d"', True),
    (b"1e400", True),
    (b"1e131071", True),
    (b"1e131072", False),
    (b"10e131071", False),
    (b"-0.1e131072", True),
    (b"1e-16383", True),
    (b"1e-16384", False),
    (b"1.5e-16383", False),
    (b"0e999999999999", False),
    (b"1e999999999999999999999", False),
    (b"0." + b"1" * 16_383, True),
    (b"0." + b"1" * 16_384, False),
    (b"1" * 4300, True),
    (b"1" * 4301, False),
    (b"[" * jsontext.MAX_DEPTH + b"]" * jsontext.MAX_DEPTH, True),
    (b"[" * (jsontext.MAX_DEPTH + 1) + b"]" * (jsontext.MAX_DEPTH + 1), False),
]
"""Texts, and whether PostgreSQL accepts each; `tests/integration/test_jsonb.py` compares this with a server."""
