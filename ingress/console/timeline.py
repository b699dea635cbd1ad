"""The life of a document as a list whose gaps are as long as the pauses were. Pure."""

from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec

from ingress.console.render import duration
from storage.timeline import Moment, since

STEPS = 500
"""Maximum steps that are shown, the newest."""
GAPS = (1.0, 10.0, 60.0, 600.0, 3600.0, 6 * 3600.0, 86_400.0)
"""Seconds from which a pause is a step longer; the style sheet has a class for each."""
NAMED_GAP = 60.0
"""Seconds from which a pause is written beside the gap."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened."""

    at: datetime
    since: str
    """Time since the first step."""
    what: str
    detail: str
    href: str
    """Where more of it is shown; empty if nowhere."""
    gap: int
    """Class of the pause before: 0 is none, 7 is the longest."""
    pause: str
    """The pause before in words; empty if it is short."""


def steps(moments: Sequence[Moment], href: Callable[[Moment], str], hide: Callable[[str], str]) -> list[Step]:
    """Return the newest STEPS steps. `hide`: removes personal data from a detail."""
    if not moments:
        return []
    first = moments[0].at
    shown = moments[-STEPS:]
    result = []
    before = shown[0].at
    for moment in shown:
        seconds = (moment.at - before).total_seconds()
        result.append(
            Step(
                at=moment.at,
                since=since(moment.at, first),
                what=moment.what,
                detail=hide(moment.detail),
                href=href(moment),
                gap=gap(seconds),
                pause=duration(seconds) if seconds >= NAMED_GAP else "",
            )
        )
        before = moment.at
    return result


def gap(seconds: float) -> int:
    """Return the class of a pause."""
    return sum(seconds >= longest for longest in GAPS)
