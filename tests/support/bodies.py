"""Invalid and unusual bodies: random bytes, changed examples, and JSON at its limits."""

import json
import re
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from schemas import registry
from schemas.platform import Event, Platform

BOUNDED = settings(max_examples=300, deadline=None, derandomize=True, print_blob=True)
"""The same bodies on every run, so that every failure can be reproduced."""

DEEPLY = (b"[" * 100_000, b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 100_000 + b"1" + b"}" * 100_000)
NASTY: tuple[bytes, ...] = (
    *(b"null", b"true", b"[]", b"{}", b'""', b'" "', b"0", b"-0", b"1.10", b"[null]", b'{"a":1,"a":2}', b"[[],{}]"),
    *(b"1e400", b"-1e400", b"1e-99999", b"1e131072", b"1e9999999999999999999", b"0." + b"1" * 20_000, b"9" * 5000),
    *(b"NaN", b"-Infinity", b"01", b"1000-4612", b'"orderNo": 1-2', b"'a'", b"[1,]", b"//", b"\\", b'"', b'"\\'),
    *(b'"\\u0000"', b'"\\ud800"', b'"\\udc00\\ud800"', b'"\\u00"', b'"\xff"', b'"\xed\xa0\x80"', b'"\x00"', b'"\n"'),
    *(b"\xef\xbb\xbf", b"\xff\xfe", b'"\xef\xbf\xbd"', b'"' + b"x" * 3000 + b'"', b'"\xc2\xa0"', b'"%/%2F"'),
    *(b"[" * 2000, b"[" * 2000 + b"]" * 2000, b'{"a":' * 1500 + b"1" + b"}" * 1500, b"[" * 401 + b"]" * 401),
    *(b'"2023-04-01T00:00:00"', b'"0001-01-01T00:00:00+23:59"', b'[{"name":"Sscc","value":"1"}]', b'{"name":null}'),
)

_VALUE = re.compile(rb'(?<=[:\[,])\s*(?:"(?:[^"\\]|\\.)*"|[-0-9.eE]+|true|false|null)')


def known() -> list[tuple[Platform, Event, bytes]]:
    """Return every example of every platform."""
    return [
        (platform, event, registry.example(platform.name, name))
        for platform in registry.platforms().values()
        for event in platform.events
        for name in event.examples
    ]


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**25), 10**25)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=20,
)


@st.composite
def mutated(draw: st.DrawFn, body: bytes) -> bytes:
    """Change one to four parts of `body`."""
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(body)))
        end = min(len(body), at + draw(st.integers(0, 40)))
        match draw(st.integers(0, 6)):
            case 0:
                body = body[:at] + bytes([draw(st.integers(0, 255))]) + body[at + 1 :]
            case 1:
                body = body[:at] + body[end:]
            case 2:
                body = body[:at] + draw(st.binary(max_size=6)) + body[at:]
            case 3:
                body = body[:end] + body[at:end] + body[end:]
            case 4:
                body = body[:at]
            case _:  # most often, one value is replaced by another
                places = list(_VALUE.finditer(body))
                if places:
                    place = draw(st.sampled_from(places))
                    body = body[: place.start()] + draw(st.sampled_from(NASTY)) + body[place.end() :]
    return body


@st.composite
def restructured(draw: st.DrawFn, body: bytes) -> bytes:
    """Replace one part of the structure of `body` by any JSON, remove it, or wrap it."""
    try:
        decoded = json.loads(body)
    except ValueError:
        return body
    node = decoded
    while True:
        inner: list[Any] = [key for key, value in _children(node) if isinstance(value, dict | list) and value]
        if not inner or draw(st.booleans()):
            break
        node = node[draw(st.sampled_from(inner))]
    if not node or not isinstance(node, dict | list):
        return json.dumps(draw(json_values)).encode()
    key = draw(st.sampled_from([key for key, _ in _children(node)]))
    match draw(st.integers(0, 2)):
        case 0:
            node[key] = draw(json_values)
        case 1:
            del node[key]
        case _:
            node[key] = {"name": node[key], "value": node[key]}
    return json.dumps(decoded, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")


def _children(node: Any) -> list[tuple[Any, Any]]:
    return list(node.items()) if isinstance(node, dict) else list(enumerate(node))


@st.composite
def posts(draw: st.DrawFn) -> tuple[Platform, Event, bytes]:
    """Draw an event and a body for it, which may be of no event at all."""
    platform, event, body = draw(st.sampled_from(known()))
    body = draw(
        st.one_of(
            mutated(body),
            restructured(body),
            restructured(body).flatmap(mutated),
            st.binary(max_size=60),
            st.sampled_from(NASTY),
            json_values.map(lambda value: json.dumps(value).encode()),
        )
    )
    return platform, event, body
