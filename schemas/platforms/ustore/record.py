"""The route worker's note to the store worker: which manufacturer each item went to, and by which rule.

It carries the body itself, so that the store worker can file it whichever of the two messages comes first.
"""

import msgspec


class ItemAllocation(msgspec.Struct, frozen=True):
    """One order item's fate."""

    item: str
    """OrderProduct @id."""
    manufacturer: str
    """uStore's internal id."""
    rule: str
    """The name of the rule that decided; `rule 3` for one without a name, `fallback: product` where none matched."""
    detail: str | None = None
    """How it decided, where that isn't plain: distances, and what stood in for an unknown postal code."""


class AllocationRecord(msgspec.Struct, frozen=True):
    """Body of a message of AMQP type `crossdock.allocation`."""

    raw: bytes
    """The request, byte for byte."""
    allocations: list[ItemAllocation]
    """Each item once, in the order's own order."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(AllocationRecord)


def encode(record: AllocationRecord) -> bytes:
    """MessagePack: the raw bytes go through unescaped."""
    return _encoder.encode(record)


def decode(body: bytes) -> AllocationRecord:
    """The reverse. Raises ValueError (msgspec's errors are some) on what no route worker wrote."""
    return _decoder.decode(body)
