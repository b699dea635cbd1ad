"""Orders and accounts to route, made from the documented example."""

import json
from datetime import UTC, datetime
from typing import Any

import msgspec

from schemas import allocation, registry
from schemas.allocation import ItemAllocation
from schemas.envelope import Envelope
from schemas.platforms.ustore import wire
from schemas.platforms.ustore.config import Account
from workers.route import ustore
from workers.route.answers import Answer

DOCUMENTED = registry.example("ustore", "manufacturer_allocation")

HANOVER = {
    "id": "2",
    "name": "test2 Manufacturer",
    "external_id": "HAN",
    "country": "US",
    "state": "MD",
    "postal_code": "21076",
}
SEATTLE = {"id": "5", "name": "West", "country": "USA", "state": "Washington", "postal_code": "98101"}
ONE = {"id": "1", "name": "One", "country": "US", "state": "NY", "postal_code": "10016"}


def account(*rules: dict[str, Any], **more: Any) -> Account:
    """An account with three manufacturers; whatever is given goes before the defaults."""
    settings = {"secrets": ["key"], "manufacturers": [ONE, HANOVER, SEATTLE], "rules": list(rules)} | more
    return msgspec.convert(settings, Account)


def document() -> dict[str, Any]:
    """The documented order, to be changed."""
    order: dict[str, Any] = json.loads(DOCUMENTED)
    return order


def products(order: dict[str, Any]) -> list[dict[str, Any]]:
    result: list[dict[str, Any]] = order["Order"]["OrderProducts"]["OrderProduct"]
    return result


def deliveries(order: dict[str, Any]) -> list[dict[str, Any]]:
    result: list[dict[str, Any]] = order["Order"]["DeliveryInformation"]["Deliveries"]
    return result


def shipping_to(**address: Any) -> dict[str, Any]:
    """The documented order with this address (`CountryName`, `StateName`, `Zip`) for each of its deliveries."""
    order = document()
    for delivery in deliveries(order):
        delivery["ShippingAddress"] |= address
    return order


def encoded(order: dict[str, Any]) -> bytes:
    return json.dumps(order, ensure_ascii=False).encode()


def ask(order: dict[str, Any] | bytes, settings: Account, language: str | None = None) -> Answer:
    """What the worker would answer."""
    raw = order if isinstance(order, bytes) else encoded(order)
    request = Envelope(
        message_id="0",
        platform="ustore",
        account="printshop",
        event="manufacturer_allocation",
        received_at=datetime(2026, 11, 21, tzinfo=UTC),
        language=language,
    )
    return ustore.answer(request, raw, settings)


def answered(order: dict[str, Any] | bytes, settings: Account) -> dict[str, str]:
    """The manufacturer of each item. Fails if the order was refused."""
    answer = ask(order, settings)
    assert answer.status == 200, answer.body
    assert answer.content_type == "application/json"
    result: dict[str, str] = json.loads(answer.body)
    return result


def recorded(order: dict[str, Any] | bytes, settings: Account) -> list[ItemAllocation]:
    """What the record of the answer says."""
    answer = ask(order, settings)
    assert answer.record is not None
    return allocation.decode(answer.record).allocations


def decoded(order: dict[str, Any]) -> wire.Order:
    return wire.decode(encoded(order)).order
