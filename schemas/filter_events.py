"""Events as filters see them: attributes, and data with exact numbers."""

from contextlib import suppress
from datetime import datetime
from decimal import Decimal, InvalidOperation

import msgspec

from schemas import cloudevents
from schemas.envelope import rfc3339

ATTRIBUTES = frozenset({"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "version", "data"})
"""What filters see of a CloudEvent."""


def _number(text: str) -> Decimal:
    """Return a number with a fraction or an exponent; one that Decimal cannot represent is infinite, or zero."""
    try:
        return Decimal(text)
    except InvalidOperation:
        digits, _, exponent = text.lower().partition("e")
        sign = "-" if digits.startswith("-") else ""
        return Decimal(f"{sign}0" if exponent.startswith("-") else f"{sign}Infinity")


exact_decoder, _any_decoder = msgspec.json.Decoder(float_hook=Decimal), msgspec.json.Decoder(float_hook=_number)


def decode(text: bytes | str) -> object:
    """Decode JSON with exact numbers, as filters and events are compared. Raises ValueError and RecursionError."""
    try:
        return exact_decoder.decode(text)
    except ArithmeticError:
        return _any_decoder.decode(text)


def attributes(
    *,
    id: str,  # noqa: A002 - the attribute's name in the specification
    platform: str,
    account: str,
    type: str,  # noqa: A002 - likewise
    key: str,
    received_at: datetime,
    version: int,
) -> dict[str, object]:
    """Return a CloudEvent as filters see it, without its data."""
    return {
        "specversion": "1.0",
        "id": id,
        "source": f"/{platform}/{account}",
        "type": type,
        "subject": key,
        "time": rfc3339(received_at),
        "version": version,
    }


def add_data(event: dict[str, object], encoded: bytes | None) -> None:
    """Add the data of an event as filters see them; none if it is not JSON, or nested too deeply to be read."""
    event["datacontenttype"] = cloudevents.OCTETS if encoded is None else cloudevents.JSON
    if encoded is not None:
        with suppress(ValueError, RecursionError):
            event["data"] = decode(encoded)


def of_log(body: bytes) -> dict[str, object]:
    """Return an event of the log as filters see it. Raises ValueError if it is not JSON."""
    event = decode(body)
    if type(event) is not dict:
        raise ValueError("the event is not an object")
    return {name: value for name, value in event.items() if name in ATTRIBUTES}
