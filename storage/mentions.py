"""Decides whether a quarantined message, which no worker could store, mentions a business key or an order number."""

import json
import re
from collections.abc import Iterable, Iterator

from schemas import documents, registry

_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8-sig"}
"""Encodings by byte order mark."""


def mentions(
    raw: bytes, names: Iterable[str], *, platform: str, event: str, content_type: str | None, stage: str
) -> bool:
    """Return whether a message is about a document with one of these keys or order numbers.

    If its platform can read it (a rule refused it, or no queue took it), what it reads decides. Otherwise a JSON value
    that is one of the names counts, or, if it is not JSON, a word: `12` is neither in `4123` nor in `2026-12-01`. A
    message of the stage `failed` is never read by its platform here, because that may be what ended a worker.
    """
    selected = frozenset(names)
    if stage == "failed":
        return _names_one_of(selected, raw)
    try:
        reading = documents.describe(registry.platforms()[platform], event, raw, content_type).reading
    except Exception:  # whatever is wrong with the message, its text can be searched
        return _names_one_of(selected, raw)
    return not selected.isdisjoint((reading.key, reading.order_number, reading.order_ref, reading.warehouse_ref))


def _names_one_of(selected: frozenset[str], raw: bytes) -> bool:
    texts = _texts(raw)
    try:
        return any(value in selected for value in _values(json.loads(texts[0], parse_float=str, parse_int=str)))
    except (ValueError, RecursionError):
        return any(_stands_in(texts, name) for name in selected)


def _values(value: object) -> Iterator[str]:
    """Yield every text and number of a JSON value, without blanks at its ends."""
    stack = [value]
    while stack:
        match stack.pop():
            case dict() as members:
                stack += members.values()
            case list() as elements:
                stack += elements
            case str(text):
                yield text.strip()


def _texts(raw: bytes) -> list[str]:
    """Return the body as text, and as what its escapes stand for."""
    text = raw.decode(_MARKS.get(raw[:2]) or _MARKS.get(raw[:3]) or "utf-8", "replace")
    if "\0" in text:  # UTF-16 without a mark
        text = text.replace("\0", "")
    texts = [text]
    if "\ufffd" in text:
        texts.append(raw.decode("latin-1"))
    if "\\u" in text:
        texts.append(re.sub(r"\\u([0-9a-fA-F]{4})", lambda match: chr(int(match[1], 16)), text))
    return texts


def _stands_in(texts: Iterable[str], name: str) -> bool:
    pattern = re.compile(rf"(?<![\w.:-]){re.escape(name)}(?![\w.:-])")
    return any(pattern.search(text) for text in texts)
