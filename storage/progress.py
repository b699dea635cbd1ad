"""What has moved of each line of a stock transfer order, and what its documents disagree on, in words."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

import msgspec

from storage.database import Connection
from storage.sql import query

LINES = 500
"""Maximum number of lines that are read of a transfer order."""
DIGITS = 20
"""Digits before and after the point up to which a quantity is written out."""

FLAGS = {
    "direction_flipped": "direction flipped",
    "more_than_ordered": "more than ordered",
    "not_ordered": "goods that were not ordered",
    "received_before_shipped": "received before shipped",
    "short": "short",
    "unreadable_number": "a quantity cannot be read",
    "unreadable_date": "a date cannot be read",
}
"""What the flags of a transfer mean, in few words."""
MEANINGS = {
    "direction_flipped": "A shipment, notice or receipt has the two locations of the order the other way round.",
    "more_than_ordered": "More of a line was shipped, announced or received than the order has.",
    "not_ordered": "A shipment, notice or receipt has goods that no line of the order names.",
    "received_before_shipped": "More of a line was received than was shipped or announced.",
    "short": "A receipt says that less arrived than it names.",
    "unreadable_number": "A document has a quantity that is not a number; it counts as absent.",
    "unreadable_date": "A document has a date that cannot be read; it counts as absent.",
}
"""What the flags of a transfer mean, as sentences."""


class LineProgress(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a stock transfer order, as in the view `transfer_progress`."""

    line_id: str | None
    sku: str | None
    ordered: Decimal | None
    """None if the quantity that was sent cannot be read."""
    shipped: Decimal
    announced: Decimal
    received: Decimal
    damaged: Decimal
    """Part of what was received."""
    outstanding: Decimal | None
    """Ordered minus received; negative if more was received."""
    cartons: int
    first_shipped_at: datetime | None
    last_received_at: datetime | None
    """Without a time zone, as receipts say it."""
    flags: Sequence[str]
    """Flags of the whole order, which every line has."""


async def lines(
    connection: Connection, account: str, channel_order_id: str, *, limit: int = LINES + 1
) -> list[LineProgress]:
    """Return the lines of a stock transfer order in the order's sequence; none if it is not stored.

    By default one more than LINES is read, so that it is known whether there are more. Raises asyncpg's errors.
    """
    rows = await connection.fetch(query("progress", "lines"), account, channel_order_id, limit)
    return [LineProgress(**row) for row in rows]


def quantity(value: Decimal | int | None) -> str:
    """Return a quantity as a person reads it: `1,000`, `50.5`; a dash if it is not known."""
    if value is None:
        return "–"
    exact = Decimal(value)
    if exact and not -DIGITS < exact.adjusted() < DIGITS:
        return f"{exact:.3e}"
    text = f"{exact:,.{DIGITS}f}" if _decimals(exact) > DIGITS else f"{exact:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _decimals(value: Decimal) -> int:
    exponent = value.as_tuple().exponent
    return -exponent if isinstance(exponent, int) else 0


def line_disagreements(line: LineProgress) -> list[str]:
    """Return what does not agree on a line, in words such as `6 missing of 100 shipped`; empty if everything does.

    Goods that are on their way disagree with nothing.
    """
    moved = max(line.shipped, line.announced)
    texts: list[str] = []
    if line.ordered is None:
        texts.append("ordered quantity cannot be read")
    else:
        for amount, verb in ((line.shipped, "shipped"), (line.announced, "announced"), (line.received, "received")):
            if amount > line.ordered:
                texts.append(f"{quantity(amount - line.ordered)} more {verb} than ordered")
    if line.received > moved:
        texts.append("received before shipped" if moved <= 0 else f"{quantity(line.received - moved)} never shipped")
    elif 0 < line.received < moved:
        verb = "shipped" if line.shipped >= line.announced else "announced"
        texts.append(f"{quantity(moved - line.received)} missing of {quantity(moved)} {verb}")
    if line.shipped > 0 and line.announced > 0 and line.shipped != line.announced:
        word = "fewer" if line.shipped < line.announced else "more"
        texts.append(f"{quantity(abs(line.shipped - line.announced))} {word} shipped than announced")
    if line.damaged > 0:
        texts.append(f"{quantity(line.damaged)} damaged")
    return texts


def flag_words(flags: Sequence[str]) -> list[str]:
    """Return the flags of a transfer in words; a flag without words is returned as it is."""
    return [FLAGS.get(flag, flag.replace("_", " ")) for flag in flags]


def flag_sentences(flags: Sequence[str]) -> list[str]:
    """Return what the flags of a transfer mean, as sentences."""
    return [MEANINGS[flag] for flag in flags if flag in MEANINGS]
