"""Allocation of an order: each item's manufacturer, or the reason for a refusal. Pure and deterministic."""

import weakref

import msgspec

from schemas.allocation import ItemAllocation
from schemas.platforms.ustore import wire
from schemas.platforms.ustore.config import Account
from workers.route.ustore import items
from workers.route.ustore.rules import Rules


class Allocation(msgspec.Struct, frozen=True):
    """Each item of the order once, in the order's own sequence."""

    items: list[ItemAllocation]
    named: dict[str, str]
    """The items by the id that the answer uses, which is their `@id` as sent."""


class Refusal(msgspec.Struct, frozen=True):
    """Why an order gets no allocation: an item that can't be produced, or one that can't be named in an answer."""

    item: str | None
    """@id of the first item that can't be produced; None if an item has no usable id."""
    name: str | None
    """The item's name as the shopper knows it."""


_compiled: dict[int, tuple[weakref.ref[Account], Rules]] = {}


def rules(account: Account) -> Rules:
    """Return the account's compiled rules. They are compiled once per configuration: a reload creates new accounts."""
    key = id(account)
    known = _compiled.get(key)
    if known is not None and known[0]() is account:
        return known[1]
    compiled = Rules(account)
    # The id of an object may be reused once the object is gone, so its entry is removed with it.
    _compiled[key] = weakref.ref(account, lambda _: _forget(key)), compiled
    return compiled


def _forget(key: int) -> None:
    _compiled.pop(key, None)


def allocate(order: wire.Order, account: Account) -> Allocation | Refusal:
    """Allocate each item by the first rule that matches. A repeated id is answered once, for its first item."""
    order_items = items.of(order)
    if order_items is None:
        return Refusal(None, None)
    compiled = rules(account)
    chosen: dict[str, ItemAllocation] = {}
    named: dict[str, str] = {}
    for item in order_items:
        named[item.id_as_sent] = item.id
        if item.id in chosen:
            continue
        allocation = compiled.allocate(item)
        if allocation is None:
            return Refusal(item.id, item.name())
        chosen[item.id] = allocation
    return Allocation(list(chosen.values()), named)


def answer_bytes(allocation: Allocation) -> bytes:
    """Return uStore's JSON, `{"<OrderProduct @id>": "<manufacturer id>"}`; always the same for one allocation."""
    manufacturers = {entry.item: entry.manufacturer for entry in allocation.items}
    return msgspec.json.encode({named: manufacturers[item] for named, item in allocation.named.items()})
