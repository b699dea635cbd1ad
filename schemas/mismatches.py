"""Why a value does not fit its type, in words, for those who wrote it in a configuration or in a request. Pure."""

import re
from collections.abc import Mapping

_PATTERN = re.compile(r"matching regex '(?P<pattern>.*)'$")
_BOUND = re.compile(r"Expected `(?P<kind>int|float)(?: \| null)?` (?P<sign>>=|<=|>) (?P<bound>[\d.e+]+)$")
_LENGTH = re.compile(r"Expected `(?P<kind>str|array)(?: \| null)?` of length (?P<sign>>=|<=) (?P<bound>\d+)$")
_SIGNS = {">": "above", ">=": "of at least", "<=": "of at most"}
_NUMBERS = {"int": "a whole number", "float": "a number"}
_LENGTHS = {"str": ("a text", "characters"), "array": ("a list", "entries")}


def without_patterns(text: str, formats: Mapping[str, str]) -> str:
    """Return msgspec's message with what a text must look like instead of the pattern that it must match.

    `text`: the message without its path. `formats`: what the texts of a pattern look like, by the pattern.
    """
    match = _PATTERN.search(text)
    return text if match is None or match["pattern"] not in formats else f"must be {formats[match['pattern']]}"


def in_words(text: str, formats: Mapping[str, str]) -> str:
    """Return the message as `without_patterns` does, and with limits of numbers and of lengths in words."""
    if (match := _BOUND.match(text)) is not None:
        return f"must be {_NUMBERS[match['kind']]} {_SIGNS[match['sign']]} {float(match['bound']):.15g}"
    if (match := _LENGTH.match(text)) is not None:
        if (match["sign"], match["bound"]) == (">=", "1"):
            return "must not be empty"
        what, units = _LENGTHS[match["kind"]]
        return f"must be {what} {_SIGNS[match['sign']]} {match['bound']} {units}"
    return without_patterns(text, formats)
