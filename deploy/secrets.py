"""What is suspicious about a secret as it is written: blanks, quotes and whatever else got in on its way here."""

import re
import unicodedata

import msgspec

from schemas import credential_faults, invisible
from schemas.credential_faults import Fault

_FAULTS = {
    Fault.QUOTES: (
        "stands in quotes, which are part of it (`docker --env-file` keeps them): "
        "remove them, unless the other side has them too"
    ),
    Fault.HEADER_LINE: "is a whole header line: keep only what follows the colon",
    Fault.VARIABLE: ('is the name of a variable, and not its value: write { env = "NAME" }, or set the value itself'),
    Fault.PLACEHOLDER: "is a placeholder: replace it by what the other side has",
    Fault.EXAMPLE: "is the text of an example: replace it by what the other side has",
    Fault.REFERENCE: (
        'refers to a secret that is kept elsewhere, and nothing looks it up: write { file = "path" } or '
        '{ env = "NAME" }, and have it put there'
    ),
}


class Written(msgspec.Struct, frozen=True):
    """A secret, or a name that both sides must have alike, as it is written or kept."""

    text: str
    variable: str = ""
    """The environment variable that it comes from, if it does."""
    is_secret: bool = True
    is_in_query: bool = False
    """Whether its sender adds it to a URL."""


def trouble(value: Written) -> str | None:
    """Return why this is probably not what the other side has, as a sentence that doesn't show it; else None."""
    what = "the secret" if value.is_secret else "it"
    bare = value.text.rstrip("\r\n")
    if bare != bare.strip():
        return f"{what} begins or ends with a blank, which is part of it: is that what the other side has?"
    if any(character in bare for character in "\r\n\t"):
        return f"{what} has a newline or a tab within, which is part of it: is that what the other side has?"
    for character in bare:
        if unicodedata.category(character) in ("Cc", "Zl", "Zp") or invisible.is_invisible(character):
            return (
                f"{what} has an invisible character (U+{ord(character):04X}), which is part of it: "
                "enter it again instead of copying it"
            )
    fault = credential_faults.fault(bare)
    if fault is None and value.variable and re.match(rf"(export\s+)?{re.escape(value.variable)}\s*=", bare):
        return f"{what} begins with the name of its variable: keep only what follows the equals sign"
    if fault is not None:
        return f"{what} {_FAULTS[fault]}"
    if value.is_in_query and not value.is_secret and any(character in "?&=#" for character in bare):
        return f"{what} is more than the name of a parameter: keep only the name, without ?, =, & and #"
    if value.is_in_query and not bare.isascii():
        return (
            f"{what} has characters other than ASCII: its sender must percent-encode it in the URL, "
            "because a URL with such characters is answered 400; or choose one of letters and digits"
        )
    return None
