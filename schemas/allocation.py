"""The route worker's record for the store worker: each item's manufacturer, and the rule that chose it.

A record contains the order itself, so that the store worker can store it whichever of the two messages comes first.
"""

import msgspec


class ItemAllocation(msgspec.Struct, frozen=True):
    """The manufacturer of one order item, and the rule that chose it."""

    item: str
    """The item's ID within the order."""
    manufacturer: str
    """The platform's own ID of the manufacturer."""
    rule: str
    """Name of the rule that decided; `rule 3` for a rule without a name, `fallback: product` if none matched."""
    detail: str | None = None
    """How the rule decided, if that isn't obvious: distances, and what stood in for an unknown postal code."""


class AllocationWords(msgspec.Struct, frozen=True):
    """What the configuration of an account says of manufacturers and rules, in words for people."""

    manufacturers: dict[str, str]
    """Names of manufacturers by their IDs, of those that have one."""
    rules: dict[str, str]
    """Conditions and choice of each rule by its name, as `ItemAllocation.rule` has it."""


class AllocationRecord(msgspec.Struct, frozen=True):
    """Body of a message of AMQP type `crossdock.allocation`."""

    raw: bytes
    """The order, byte for byte."""
    allocations: list[ItemAllocation]
    """Each item once, in the order's own sequence."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(AllocationRecord)


def encode(record: AllocationRecord) -> bytes:
    """Return a record as MessagePack, which holds the order's bytes without escaping."""
    return _encoder.encode(record)


def decode(body: bytes) -> AllocationRecord:
    """Decode a record. Raises ValueError if a route worker did not write it."""
    return _decoder.decode(body)
