"""Apicbase: purchase orders from customers to suppliers, answered while the customer waits.

No rule about another platform and no I/O: its API is polled by `workers.poll`, the verdict is in `workers.route`.
Begin with `wire` (the body), `identity` (key and lines), `signing`, and `refusal` (why an order is refused).
"""

from schemas.platform import Event, Platform, Reply
from schemas.platforms.apicbase import identity, refusal, signing
from schemas.platforms.apicbase.config import Account


def _secrets(account: Account) -> tuple[str, ...]:
    return (*account.secrets, *([account.poll.client_secret] if account.poll else []))


def _refuse(event: str, raw: bytes, account: Account) -> str | None:
    refused = refusal.refusal(raw, account)
    return None if refused is None else refused.detail


PLATFORM = Platform(
    name="apicbase",
    account=Account,
    demo=("acme", {"secrets": ["demo-apicbase-secret"]}),
    events=(
        Event(
            name=identity.EVENT,
            path="purchase-orders",
            types=(identity.TYPE,),
            examples=("purchase_order",),
            # No verdict in time: the order is durably queued, which is all that a 2xx promises.
            reply=Reply("verdict_timeout", "accept"),
            is_purchase_order=True,
        ),
    ),
    unauthorized=403,  # Apicbase's own sample code answers so
    verify=signing.verify,
    sign=signing.sign,
    read=identity.read,
    decode=identity.decode,
    secrets=_secrets,
    refuse=_refuse,
    personal_fields=("owned_by", "order_remarks"),
    with_new_key=identity.with_new_key,
)
