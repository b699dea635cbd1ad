"""How far a transfer is, as pages show it: bars made on the server, and what disagrees in words."""

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from storage.progress import LINES, LineProgress, flag_sentences, flag_words, line_disagreements, quantity

__all__ = (
    "LINES",
    "Bar",
    "LineView",
    "bar",
    "flag_sentences",
    "flag_words",
    "line_disagreements",
    "line_views",
    "missing",
    "quantity",
)

WIDTH = 100
"""Units of a bar's width."""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One rectangle of a picture, in units of its width."""

    kind: str
    """The CSS class that fills it."""
    x: float
    width: float


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """How much of what was ordered has been received and is on its way; shown by the macro `pictures.progress`."""

    parts: Sequence[Part]
    text: str
    """The same in words."""


class LineView(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a transfer order with its bar and what disagrees."""

    line: LineProgress
    bar: Bar
    disagreements: Sequence[str]


def bar(
    ordered: Decimal | None,
    shipped: Decimal,
    announced: Decimal,
    received: Decimal,
    damaged: Decimal = Decimal(0),
    missing: Decimal = Decimal(0),
) -> Bar:
    """Return the bar of a line or a transfer. What exceeds the order makes the whole bar longer, so that it shows.

    `missing`: how much of what was shipped was not in the receipts; the rest that has not arrived is on the way.
    """
    arrived, moved = max(received, Decimal(0)), max(shipped, announced, received, Decimal(0))
    broken = min(max(damaged, Decimal(0)), arrived)
    whole = max(ordered or Decimal(0), moved)
    target = "an unknown quantity" if ordered is None else quantity(ordered)
    text = f"{quantity(received)} of {target} received"
    lost = max(missing, Decimal(0))
    if lost:
        text += f", {quantity(lost)} missing"
    if moved - arrived > lost:
        text += f", {quantity(moved - arrived - lost)} on the way"
    if broken:
        text += f", {quantity(broken)} damaged"
    if not whole:
        return Bar(parts=(), text=text)
    ends = {"received": arrived - broken, "damaged": arrived, "moved": moved}
    parts, begin = [], Decimal(0)
    for kind, end in ends.items():
        if end > begin:
            parts.append(Part(kind=kind, x=_units(begin / whole), width=_units((end - begin) / whole)))
            begin = end
    return Bar(parts=parts, text=text)


def missing(line: LineProgress) -> Decimal:
    """Return how much was shipped or announced of a line and is not in its receipts; 0 before the first receipt."""
    short = max(line.shipped, line.announced) - line.received
    return short if line.received > 0 and short > 0 else Decimal(0)


def line_views(lines: Sequence[LineProgress]) -> list[LineView]:
    """Return lines as pages show them, first those that disagree."""
    views = [
        LineView(
            line=line,
            bar=bar(line.ordered, line.shipped, line.announced, line.received, line.damaged, missing(line)),
            disagreements=line_disagreements(line),
        )
        for line in lines
    ]
    return sorted(views, key=lambda view: not view.disagreements)


def _units(share: Decimal) -> float:
    return round(float(share) * WIDTH, 2)
