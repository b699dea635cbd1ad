"""Why a text is not JSON, in words for whoever wrote the program that sends it. Pure.

What programs write that only their own language reads is named: Python's `NaN` and `None`, JavaScript's `undefined`.
"""

import re

import msgspec

_TRUNCATED = "Input data was truncated"
_BYTE = re.compile(r" \(byte (?P<place>\d+)\)$")
_WORD = re.compile(rb"(?<![\w\"])-?(?:NaN|Infinity|nan|inf|None|True|False|undefined)(?![\w\"])")
_LONGEST_WORD = len("undefined") + 1
_NULL = "write null, or leave the field out"
_ADVICE = {"None": "write null", "True": "write true", "False": "write false"}
_BEGINNINGS = {
    b"'": "single quotes are not JSON: write double quotes",
    b"\xe2\x80": "typographic quotes are not JSON: write straight double quotes",
    b"//": "comments are not JSON: leave them out",
    b"/*": "comments are not JSON: leave them out",
    b"<": "it looks like XML or HTML",
    b"\n": "a line break within a text is not JSON: write \\n",
    b"\r": "a line break within a text is not JSON: write \\r",
    b"\t": "a tab within a text is not JSON: write \\t",
}


def explain(error: Exception, text: bytes = b"") -> str:
    """Describe why msgspec could not decode `text`, without quoting any of it but words that are in no document."""
    if isinstance(error, UnicodeDecodeError):
        return "the text is not valid UTF-8"
    if isinstance(error, RecursionError):
        return "nested too deep"
    reason = str(error)
    match = _BYTE.search(reason)
    if reason == _TRUNCATED or (text and match is not None and int(match["place"]) >= len(text)):
        return f"the text ends in the middle: it is {len(text):,} bytes long" if text else "the text is empty"
    advice = None if match is None else _advice(text, int(match["place"]))
    return reason if match is None or advice is None else f"{advice}{match[0]}"


def cut_off(text: bytes) -> str | None:
    """Return that a text is JSON that ends in the middle, or None if it is something else."""
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError) as error:
        return f"not JSON: {explain(error, text)}" if str(error) == _TRUNCATED else None
    return None


def _advice(text: bytes, place: int) -> str | None:
    """Return what is wrong around a byte, at which msgspec stopped within the word or the number; None if unknown."""
    first = max(0, place - _LONGEST_WORD)
    for word in _WORD.finditer(text, first, place + _LONGEST_WORD):
        if word.start() <= place <= word.end():
            written = word[0].decode()
            return f"{written} is not JSON: {_ADVICE.get(written, _NULL)}"
    return next((advice for begin, advice in _BEGINNINGS.items() if text.startswith(begin, place)), None)
