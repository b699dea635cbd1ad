"""Texts that stand where an identifier is missing: words such as `null` and `TBD`, templates, signs and zeros. Pure."""

import re
from unicodedata import category

NOTHING = frozenset({"null", "(null)", "<null>", "none", "nil", "undefined", "n/a"})
"""Placeholders that programs write for a missing value, whatever its type."""
_NO_IDENTIFIER = NOTHING | {
    *("nan", "-nan", "+nan", "nat", "<na>", "n.a.", "object object", "dbnull", "system.dbnull", "\\n"),
    *("#n/a", "#n/a n/a", "#nv", "#n/d", "#getting_data"),
}
"""Placeholders for a missing identifier: those of numerical libraries, of JavaScript and of spreadsheets as well.

They are not identifiers: two documents that both lack an identifier are not the same document.
"""
_UNFILLED = frozenset(
    {
        *("true", "false", "tbd", "tba", "string", "unknown", "not available", "not applicable", "not set"),
        *("not_available", "not_applicable", "not_set", "notavailable", "notapplicable", "notset"),
    }
)
"""Placeholders for the number of a document, which may be the name of something else: those of forms and examples."""
_NOT_APPLICABLE = re.compile(r"[ ./\\_()#-]*n[ ./\\_()#-]*a[ ./\\_()#-]*", re.IGNORECASE)
_TEMPLATE = re.compile(
    r"\{\{[^{}]*\}\}|\$\{[^{}]*\}|\$\([^()]*\)|\$[A-Za-z_]\w*|%[A-Za-z_]\w*%|<%[^%]*%>|<[A-Za-z_ ]+>|\[[A-Za-z_ ]+\]"
    r"|\{[A-Za-z_. ]+\}"
)
"""A variable of a template that was not replaced."""
_QUOTES = "\"'`()<>[]{}"
MAX_LENGTH = 16
"""Maximum characters of a placeholder."""
_MIN_ZEROS = 16
"""Minimum zeros of an identifier that is all zeros: .NET's `Guid.Empty`, a number of a carton that was never set."""
AROUND_ZEROS = "0-{}()+./_ :"
_MAX_TEMPLATE_LENGTH = 512
"""Maximum characters of a variable of a template; longer identifiers are not kept."""


def without_placeholder(name: str | None) -> str | None:
    """Return an identifier, or None for zeros alone and for placeholders of forms and templates."""
    if name is None or (name[0] in AROUND_ZEROS and _is_zero(name)):
        return None
    return name if name[-1].isdecimal() or not _is_unfilled(name) else None


def _is_unfilled(name: str) -> bool:
    """Return whether an identifier is a word such as `TBD`, a way to write `N/A`, or a variable of a template."""
    if len(name) <= MAX_LENGTH and (
        name.casefold() in _UNFILLED or (len(name) > 2 and _NOT_APPLICABLE.fullmatch(name) is not None)
    ):
        return True
    return name[0] in "$%{<[" and len(name) <= _MAX_TEMPLATE_LENGTH and _TEMPLATE.fullmatch(name) is not None


def _is_zero(written: str) -> bool:
    return not written.strip(AROUND_ZEROS)


def is_nothing(written: str) -> bool:
    """Return whether a short text stands for no value.

    It is a word such as `null`, an error of a spreadsheet such as `#REF!`, punctuation alone, such as `-`, or sixteen
    zeros.
    """
    if written.lower() in _NO_IDENTIFIER:
        return True
    if written[0].isalnum():
        return written == "0" * _MIN_ZEROS
    if written[0] == "#" and written[-1] in "!?":
        return True
    inner = written.strip(_QUOTES).lower()
    return inner in _NO_IDENTIFIER or all(category(character)[0] == "P" for character in written)


def is_empty_guid(written: str) -> bool:
    """Return whether a text is zeros alone, at least sixteen, in whatever way a GUID is written."""
    return _is_zero(written) and written.count("0") >= _MIN_ZEROS
