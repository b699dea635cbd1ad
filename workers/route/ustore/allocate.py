"""An order in, each item's manufacturer out, or the one reason why not. Pure: the same again is the same."""

import weakref

import msgspec

from schemas.allocation import ItemAllocation
from schemas.platforms.ustore import wire
from schemas.platforms.ustore.config import Account
from workers.route.ustore import items
from workers.route.ustore.rules import Rules


class Allocation(msgspec.Struct, frozen=True):
    """Every item of the order once, in the order's own order."""

    items: list[ItemAllocation]
    named: dict[str, str]
    """What the answer names each item by (its `@id` as sent) → the item."""


class Refusal(msgspec.Struct, frozen=True):
    """Why the order gets no allocation: an item that can't be produced, or one that can't be named in an answer."""

    item: str | None
    """@id of the first item that can't be produced; None where an item has no usable id."""
    name: str | None
    """The item as the shopper knows it."""


_compiled: dict[int, tuple[weakref.ref[Account], Rules]] = {}


def rules(account: Account) -> Rules:
    """The account's rules, compiled once per configuration: a reload brings another object and so other rules."""
    key = id(account)
    known = _compiled.get(key)
    if known is not None and known[0]() is account:
        return known[1]
    made = Rules(account)
    # An id is used again once its object is gone, so the entry goes with it.
    _compiled[key] = weakref.ref(account, lambda _: _forget(key)), made
    return made


def _forget(key: int) -> None:
    _compiled.pop(key, None)


def allocate(order: wire.Order, account: Account) -> Allocation | Refusal:
    """Each item by the first rule that matches it. An id that stands twice is answered once, for the first."""
    found = items.of(order)
    if found is None:
        return Refusal(None, None)
    compiled = rules(account)
    chosen: dict[str, ItemAllocation] = {}
    named: dict[str, str] = {}
    for item in found:
        named[item.id_as_sent] = item.id
        if item.id in chosen:
            continue
        allocation = compiled.allocate(item)
        if allocation is None:
            return Refusal(item.id, item.name())
        chosen[item.id] = allocation
    return Allocation(list(chosen.values()), named)


def answer_bytes(allocation: Allocation) -> bytes:
    """What uStore expects: `{"<OrderProduct @id>": "<manufacturer id>"}`; the same bytes for the same allocation."""
    manufacturers = {entry.item: entry.manufacturer for entry in allocation.items}
    return msgspec.json.encode({named: manufacturers[item] for named, item in allocation.named.items()})
