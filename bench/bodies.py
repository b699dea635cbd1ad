"""The webhooks that are posted: ChannelApe's stock transfer order, with as many lines as a size needs."""

from pathlib import Path
from urllib.parse import urlencode

import msgspec

from deploy import config as configuration
from schemas import registry

PLATFORM, EVENT = "channelape", "stock_transfer_order"
ACCOUNT = registry.platforms()[PLATFORM].demo[0]
SMALL, LARGE = 0, 5_000
"""Minimum bytes: the documented example without white space (1.1 kB), and an order of some fifty lines."""
MARK = "0" * 32
"""Placeholder for the business key in a body of which every copy becomes a different document."""


class Webhook(msgspec.Struct, frozen=True):
    """One webhook as it is posted."""

    path: str
    """Path with the query, which holds ChannelApe's signature."""
    headers: dict[str, str]
    raw: bytes
    token: str
    """`name=secret` of the query, which peers check too."""

    @property
    def size(self) -> str:
        """The size as text, such as `1.1 kB`."""
        return f"{len(self.raw) / 1000:.1f} kB"


def webhook(folder: Path, at_least: int = SMALL) -> Webhook:
    """Return a signed webhook for the demo account."""
    platform = registry.platforms()[PLATFORM]
    raw = _sized(at_least)
    signed = platform.sign(raw, configuration.parse({}, folder).accounts[PLATFORM][ACCOUNT])
    token = urlencode(signed.query)
    path = next(event.path for event in platform.events if event.name == EVENT)
    headers = {"Content-Type": "application/json", **signed.headers}
    return Webhook(f"/hooks/{PLATFORM}/{ACCOUNT}/{path}?{token}", headers, raw, token)


def marked(hook: Webhook) -> Webhook:
    """Return the same webhook with MARK as its business key."""
    return msgspec.structs.replace(hook, raw=with_new_key(hook.raw, MARK))


def with_new_key(raw: bytes, key: str) -> bytes:
    """Return the same document under another business key."""
    make = registry.platforms()[PLATFORM].with_new_key
    assert make is not None
    return make(EVENT, raw, key)


def _sized(at_least: int) -> bytes:
    """Return the order without white space, with enough lines for the size."""
    order = msgspec.json.decode(registry.example(PLATFORM, EVENT))
    first, *_ = order["lineItems"]
    raw = msgspec.json.encode(order)
    while len(raw) < at_least:
        number = len(order["lineItems"]) + 11
        order["lineItems"].append({**first, "id": f"{number:06}", "sku": f"002_110_BLK_{number}"})
        raw = msgspec.json.encode(order)
    return raw
