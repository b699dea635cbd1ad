"""Names of `schemas.allocation` under which the store worker imports them."""

from schemas.allocation import AllocationRecord, ItemAllocation, decode, encode

__all__ = ["AllocationRecord", "ItemAllocation", "decode", "encode"]
