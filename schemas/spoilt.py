"""What a credential brings along when it is copied from a file or a manual: quotes, a header's name. Pure."""

import re
from enum import Enum, auto

_QUOTES = ('""', "''", "``", "“”", "„“", "„”", "‘’", "‚‘", "«»", "»«")
_HEADER_LINE = re.compile(r"(authorization|proxy-authorization|x-[a-z0-9-]+)\s*:", re.IGNORECASE)
_VARIABLE = re.compile(r"\$[A-Z_][A-Z0-9_]*|\$\{[^}]*\}|\$\([^)]*\)|%[A-Z_][A-Z0-9_]*%", re.IGNORECASE)
_PLACEHOLDER = re.compile(r"\{\{.*\}\}|<[^<>]*>")


class Fault(Enum):
    """Why a text is probably not the credential that was meant."""

    QUOTES = auto()
    HEADER_LINE = auto()
    VARIABLE = auto()
    PLACEHOLDER = auto()


def fault(text: str) -> Fault | None:
    """Return what is probably wrong with a credential as it is written; None if nothing is."""
    if len(text) > 1 and text[0] + text[-1] in _QUOTES:
        return Fault.QUOTES
    if _HEADER_LINE.match(text):
        return Fault.HEADER_LINE
    if _VARIABLE.fullmatch(text):
        return Fault.VARIABLE
    if _PLACEHOLDER.fullmatch(text):
        return Fault.PLACEHOLDER
    return None
