"""The notification of eComNow, and the JSON that its documented example was meant to be.

That example isn't JSON: `"orderNo": 1000-4612` lacks its quotes.
"""

import re

from msgspec import UNSET, Struct, UnsetType

from schemas import jsontext, lenient
from schemas.lenient import Scalar
from schemas.platform import UnreadableError


class Item(Struct, frozen=True, kw_only=True, rename="camel"):
    sku_nr: Scalar = UNSET
    """`&` in it is literal."""
    item_name: Scalar = UNSET
    item_quantity: Scalar = UNSET
    """In a cancellation: the quantity cancelled."""
    item_price: Scalar = UNSET
    """A JSON number without a currency; exact all the same."""
    item_total: Scalar = UNSET


class Notification(Struct, frozen=True, kw_only=True, rename="camel"):
    order_no: Scalar = UNSET
    """Platform id and number of the order, "1000-4612"; text or number."""
    type: Scalar = UNSET
    """new_order or order_cancellation: what `items` means."""
    items: list[Item] | UnsetType | None = UNSET


_read = lenient.decoder(Notification)
_BARE = re.compile(
    rb'(?P<key>"orderNo"\s*+:\s*+)(?P<number>[0-9]++-[0-9]++)(?=\s*+[,}])'
    rb"|(?P<open>[\[{])|(?P<close>[\]}])|" + jsontext.STRING,
    re.DOTALL,
)


def read(raw: bytes) -> Notification:
    """Decode a notification, repaired if it is not JSON. Raises UnreadableError."""
    try:
        return _read(raw)
    except UnreadableError:
        repaired = repair(raw)
        if repaired is None:
            raise
        return _read(repaired)


def repair(raw: bytes) -> bytes | None:
    """Return the body with quotes around a bare `digits-digits` in the top level's `orderNo`; None if there is none.

    Strings are skipped, so their content stays. Whether the result is JSON is not checked.
    """
    depth = repairs = 0

    def mend(token: re.Match[bytes]) -> bytes:
        nonlocal depth, repairs
        if token["open"]:
            depth += 1
        elif token["close"]:
            depth -= 1
        elif token["key"] and depth == 1:
            repairs += 1
            return token["key"] + b'"' + token["number"] + b'"'
        return token[0]

    mended = _BARE.sub(mend, raw)
    return mended if repairs else None
