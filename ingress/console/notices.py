"""What an action has done, as the next page says it.

An action ends by sending the browser to a page whose address ends in `?done=retried.148`. Only these sentences can be
shown, so that nobody can make a link that shows a text of their own.
"""

import re

NOTICES: dict[str, str] = {}
"""Sentences by their code; `{count}` is the number in the address."""
PROBLEMS: set[str] = set()
"""Codes of notices that say that nothing was done."""
_DONE = re.compile(r"([a-z_]{1,40})(?:\.([0-9]{1,12}))?")


def done(path: str, code: str, count: int | None = None) -> str:
    """Return a path whose page shows a notice. Raises KeyError for an unknown code."""
    assert NOTICES[code]
    number = "" if count is None else f".{count}"
    return f"{path}{'&' if '?' in path else '?'}done={code}{number}"


def text(value: str | None) -> str | None:
    """Return the sentence for `done` in an address; None if there is none."""
    match = _DONE.fullmatch(value or "")
    sentence = NOTICES.get(match[1]) if match else None
    if match is None or sentence is None or ("{count}" in sentence and match[2] is None):
        return None
    return sentence.format(count=f"{int(match[2] or 0):,}")


def is_problem(value: str | None) -> bool:
    """Return whether `done` in an address says that nothing was done."""
    return (value or "").partition(".")[0] in PROBLEMS
