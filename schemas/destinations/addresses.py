"""The IP addresses that outbound calls may reach, and every spelling of an address. Pure.

Sources: the IANA special-purpose address registries (RFC 6890 and its updates), for IPv6 reversed: only 2000::/3 is
global unicast, so everything else is blocked without being listed. Blocked that way are: unspecified, loopback,
IPv4-compatible (::/96), IPv4-translated (::ffff:0:0:0/96), local-use NAT64 (64:ff9b:1::/48), discard (100::/64),
segment routing (5f00::/16), unique local (fc00::/7, with the metadata services fd00:ec2::254 and fd20:ce::254),
link-local (fe80::/10), site-local (fec0::/10), multicast (ff00::/8). `ipaddress.is_global` is not used: it changes from
one Python to the next, and calls multicast and NAT64 global.
"""

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_BLOCKED_4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # "this network": Linux connects 0.0.0.0 to itself
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT; Alibaba's metadata service 100.100.100.200
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's own service to its machines: a public number, a private place
        "169.254.0.0/16",  # link-local; metadata of AWS, Azure, Google and most others at 169.254.169.254
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments; Oracle's metadata service 192.0.0.192
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",  # benchmarking
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
_GLOBAL_6 = IPv6Network("2000::/3")
_BLOCKED_6 = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments: Teredo 2001::/32, benchmarking 2001:2::/48, ORCHID 2001:10::/28
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: carries an IPv4 address, which may be a private one
        "3fff::/20",  # documentation
    )
)
_MAPPED = IPv6Network("::ffff:0:0/96")
_NAT64 = IPv6Network("64:ff9b::/96")
"""The well-known prefix (RFC 6052), in which the resolver of an IPv6-only cluster writes every IPv4 address."""
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a server that listens on `host`."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Parse configured networks, IPv4-mapped ones as IPv4. Raises ValueError, which names the invalid text."""
    parsed: list[Network] = []
    for text in texts:
        try:
            network = ip_network(text.strip())
        except ValueError as error:
            raise ValueError(f"{text!r} is not a network; write it like 10.1.0.0/16 or fd12::/32 ({error})") from None
        if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
            low = int(network.network_address) & 0xFFFFFFFF
            network = IPv4Network((low, network.prefixlen - _MAPPED.prefixlen))
        parsed.append(network)
    return tuple(parsed)


def parse(text: str) -> Address:
    """Parse the address of a connection, in the form that sockets use. Raises ValueError.

    The zone is dropped. An IPv4 address that is written as an IPv6 one (mapped, or with the well-known NAT64 prefix) is
    returned as the IPv4 address that it is.
    """
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def public(address: Address) -> bool:
    """Return whether an address belongs to the public internet. `address` is a result of `parse`."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _BLOCKED_4)
    return address in _GLOBAL_6 and not any(address in network for network in _BLOCKED_6)


def literal(host: str) -> str | None:
    """Return the canonical address for which `host` stands without any lookup; None for a name.

    IPv4 is read like `inet_aton`: one to four numbers, each decimal, octal (`0177`) or hexadecimal (`0x7f`), of which
    the last fills the rest. Raises ValueError for a text that only resembles an address: resolvers disagree on those.
    """
    if ":" in host:
        bare, _, zone = host.partition("%")
        address = str(IPv6Address(bare))
        return f"{address}%{zone.removeprefix('25')}" if zone.removeprefix("25") else address
    parts = host.split(".")
    if _NUMBER.fullmatch(parts[-1]) is None:
        return None
    numbers = [_number(part) for part in parts]
    room = 256 ** (5 - len(parts)) if len(parts) <= 4 else 0
    if numbers[-1] >= room or any(number > 255 for number in numbers[:-1]):
        raise ValueError("more than four bytes")
    packed = numbers[-1]
    for place, number in enumerate(numbers[:-1]):
        packed |= number << (24 - 8 * place)
    return str(IPv4Address(packed))


def _number(text: str) -> int:
    if _NUMBER.fullmatch(text) is None:
        raise ValueError("not a number")
    if text[:2] in ("0x", "0X"):
        return int(text[2:] or "0", 16)
    return int(text, 8) if text[0] == "0" else int(text)
