"""The address of a client: the socket's, or the one that a trusted proxy reports in `X-Forwarded-For`."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address

from aiohttp import web

from schemas.destinations import addresses

HEADER = "X-Forwarded-For"
LONGEST = 4096
"""Maximum characters of the header that are read, from its right end, where proxies append."""


class Proxies:
    """The proxies that a setting `trusted_proxies` names."""

    def __init__(self, trusted: Sequence[str]) -> None:
        """`trusted`: addresses or networks. Raises ValueError with the first entry that is neither."""
        self._networks = addresses.networks(trusted)

    def is_behind(self, request: web.Request) -> bool:
        """Return whether the request comes directly from a trusted proxy, whose headers may be believed."""
        return bool(self._networks) and self._is_trusted(request.remote or "")

    def client(self, request: web.Request) -> str:
        """Return the client's address, or an empty string if there is none (a Unix socket).

        Each proxy appends the address of its own client. So the header is read from its right end as long as the
        address before is trusted, and the first address that is not a trusted proxy's is the client's. An entry that
        is not an address ends the search, because nothing to the left of it can be trusted.
        """
        peer = request.remote or ""
        if not self._networks or not self._is_trusted(peer):
            return peer
        for entry in reversed(",".join(request.headers.getall(HEADER, ()))[-LONGEST:].split(",")):
            address = _address(entry)
            if address is None:
                break
            peer = str(address)
            if not self._is_trusted(peer):
                break
        return peer

    def _is_trusted(self, text: str) -> bool:
        address = _address(text)
        return address is not None and any(address in network for network in self._networks)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """Parse an entry, which some proxies write with a port: `192.0.2.1:4711`, `[2001:db8::1]:4711`."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return addresses.parse(text)
    except ValueError:
        return None
