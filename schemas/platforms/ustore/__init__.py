"""XMPie uStore: orders whose items need a manufacturer, answered while the shopper's checkout waits.

The rules that choose a manufacturer are applied by `workers.route.ustore`; here are only their shape and the messages.
Begin with `wire` (the order), `config` (accounts and rules), then `manufacturer_order`.
"""

from schemas.platform import Announcement, Event, Platform, Reply
from schemas.platforms.ustore import identity, manufacturer_order, messages, signing, words
from schemas.platforms.ustore.config import Account


def _secrets(account: Account) -> list[str]:
    return account.secrets


PLATFORM = Platform(
    name="ustore",
    account=Account,
    demo=(
        "printshop",
        {
            "secrets": ["demo-ustore-signature-key"],
            "manufacturers": [
                {"id": "1", "name": "Hanover Annex", "country": "US", "state": "MD", "postal_code": "21076"},
                {"id": "2", "name": "test2 Manufacturer", "country": "US", "state": "MD", "postal_code": "21076"},
            ],
            # With these the documented order gets the documented answer.
            "rules": [{"name": "static1 to the annex", "when": {"product_name": "static1"}, "manufacturer": "1"}],
        },
    ),
    events=(
        Event(
            name=identity.EVENT,
            path="manufacturer-allocations",
            types=(identity.TYPE,),
            examples=(identity.EVENT, f"{identity.EVENT}_one_item"),
            reply=Reply("answer_timeout", "unavailable"),
        ),
    ),
    unauthorized=401,
    verify=signing.verify,
    sign=signing.sign,
    read=identity.read,
    decode=identity.decode,
    secrets=_secrets,
    sign_answer=signing.sign_answer,
    error=messages.error,
    announcement=Announcement(
        event_type=manufacturer_order.TYPE,
        recipient="manufacturer",
        recipient_id="The manufacturer's id in uStore.",
        payload=manufacturer_order.ManufacturerOrder,
        split=manufacturer_order.split,
    ),
    allocation_words=words.describe,
    personal_fields=("ShippingAddress", "User", "PropertyValues", "DialValues", "Remark"),
    with_new_key=identity.with_new_key,
)
