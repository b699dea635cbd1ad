"""ChannelApe: stock transfer orders, ship confirmations, advanced ship notices, receipts. One URL each.

No arithmetic over transfers: the views `transfer_progress` and `transfers` add up what these documents say.
Begin with `wire` (the bodies), then `identity` (keys, cartons, lines) and `fields` (additional fields).
"""

from schemas.platform import Event, Platform
from schemas.platforms.channelape import identity, signing
from schemas.platforms.channelape.config import Account


def _event(name: str, path: str) -> Event:
    return Event(name=name, path=path, types=(f"channelape.{name}",), examples=(name,), is_about_transfers=True)


def _secrets(account: Account) -> tuple[str, ...]:
    return tuple(key.secret for key in account.keys)


PLATFORM = Platform(
    name="channelape",
    account=Account,
    demo=("rothys", {"keys": [{"name": "token", "secret": "demo-channelape-secret"}]}),
    events=(
        _event(identity.STOCK_TRANSFER_ORDER, "stock-transfer-orders"),
        _event(identity.SHIP_CONFIRMATION, "ship-confirmations"),
        _event(identity.ADVANCED_SHIP_NOTICE, "advanced-ship-notices"),
        _event(identity.RECEIPT_CONFIRMATION, "receipt-confirmations"),
    ),
    unauthorized=401,
    verify=signing.verify,
    sign=signing.sign,
    read=identity.read,
    decode=identity.decode,
    secrets=_secrets,
    personal_fields=("customer", "shippingAddress", "billingAddress"),
    with_new_key=identity.with_new_key,
)
