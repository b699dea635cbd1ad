"""Addresses of pages that other pages link to, and of the same list with another filter."""

from collections.abc import Mapping
from urllib.parse import quote, urlencode

import msgspec


def document(platform: str, account: str, type_: str, key: str) -> str:
    """Return the path of a document's page, which is the same in every database."""
    return "/console/documents?" + urlencode({"platform": platform, "account": account, "type": type_, "key": key})


def transfer(account: str, channel_order_id: str) -> str:
    """Return the path of a transfer's page."""
    return f"/console/transfers/{quote(channel_order_id, safe='')}?{urlencode({'account': account})}"


class Query(msgspec.Struct, frozen=True):
    """The filters of a list as the query of its address."""

    filters: Mapping[str, str | None]

    def __call__(self, **changes: str | None) -> str:
        """Return the query with these changes; None leaves a filter out."""
        return urlencode({name: value for name, value in {**self.filters, **changes}.items() if value})

    @property
    def is_empty(self) -> bool:
        """Whether nothing is filtered."""
        return not any(self.filters.values())
