"""The guard against server-side request forgery: no subscriber's URL reaches a private network (contract §6). Pure.

It is applied at two places. `check_url` informs the subscriber at registration, and again before each attempt; it
cannot judge names. `allowed` judges every final address when connecting (`workers.deliver.attempt.connector`), and is
the decisive check: names may resolve to anything, and to something else a second later.
"""

from collections.abc import Sequence

from schemas.destinations import addresses, urls
from schemas.destinations.urls import BlockedError, Target

__all__ = ["BlockedError", "Guard"]

LOOPBACK = ("127.0.0.1", "::1")
"""The addresses of `localhost` and all names below it (RFC 6761 §6.3), whatever a resolver returns."""


class Guard:
    """The destinations that `[delivery] allow_networks` and `allow_http` permit."""

    def __init__(self, allow_networks: Sequence[str], allow_http: bool) -> None:
        """Create a guard. `allow_networks` is in CIDR notation. Raises ValueError, which names an invalid network."""
        self._networks = addresses.networks(allow_networks)
        self._schemes = ("https", "http") if allow_http else ("https",)

    def check_url(self, url: str) -> None:
        """Raise BlockedError, with a text that the subscriber can act on, if nothing may be sent to a URL."""
        self.target(url)

    def target(self, url: str) -> Target:
        """Return the URL as it will be called. Raises BlockedError."""
        target = urls.parse(url)
        if target.scheme not in self._schemes:
            raise BlockedError(f"the URL must begin with {' or '.join(f'{scheme}://' for scheme in self._schemes)}")
        if target.address and not self.allowed(target.host):
            raise BlockedError(
                "the URL's address is not a public one; use a public address, or have its network allowed"
            )
        name = target.host.rstrip(".")
        if (name == "localhost" or name.endswith(".localhost")) and not any(map(self.allowed, LOOPBACK)):
            raise BlockedError("localhost is this machine, not yours; use a public name or address")
        return target

    def allowed(self, address: str) -> bool:
        """Return whether a final address may be connected to: a public one, or one in the allowed networks.

        An IPv6 address that is IPv4-mapped, or has the well-known NAT64 prefix (64:ff9b::/96) as in IPv6-only clusters,
        is judged as the IPv4 address that it stands for. A text that is not an address is not allowed. Allowing a 6to4
        network, or one's own NAT64 prefix, allows every IPv4 address that can be written in it.
        """
        try:
            parsed = addresses.parse(address)
        except ValueError:
            return False
        return addresses.public(parsed) or any(parsed in network for network in self._networks)
