"""eComNow: notifications of new orders and of cancellations to vendors, both posted to one URL.

Only what is received: the notifications that we send in this format are made by `schemas.dialects.ecomnow`.
Begin with `wire` (the body, and the repair of the documented example), then `identity`.
"""

from schemas.platform import Event, Platform
from schemas.platforms.ecomnow import identity, signing, wire
from schemas.platforms.ecomnow.config import Account


def _secrets(account: Account) -> tuple[str, ...]:
    return tuple(account.authorizations)


PLATFORM = Platform(
    name="ecomnow",
    account=Account,
    demo=("shop", {"authorizations": ["Basic c2hvcDpkZW1vLWVjb21ub3ctc2VjcmV0"]}),
    events=(
        Event(
            name=identity.EVENT,
            path="notifications",
            types=tuple(identity.TYPES.values()),
            # The first is the documented body, whose order number has no quotes; the last is what it should have been.
            examples=("new_order", "order_cancellation", "new_order_valid"),
        ),
    ),
    unauthorized=401,
    verify=signing.verify,
    sign=signing.sign,
    read=identity.read,
    decode=identity.decode,
    repair=wire.repair,
    secrets=_secrets,
    with_new_key=identity.with_new_key,
)
