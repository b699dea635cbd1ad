"""As Apicbase sends a purchase order: the body as received, signed with HMAC-SHA256 in lower-case hexadecimal.

The documented receiver hashes `json.dumps(request.data)`, ours over the very bytes sent: where Apicbase posted what it
signed these are the same.
"""

import hmac
import secrets

from schemas.outbound import Credentials, Dialect, Event, Request

HEADER = "X-APIC-WEBHOOK-SIGNATURE"


def request(event: Event, credentials: Credentials, now: int) -> Request:
    """The header takes one signature: the newest secret's."""
    key = credentials.secrets[0].encode("utf-8", "surrogatepass")
    return Request(
        body=event.raw,
        headers={
            "Content-Type": "application/json",
            HEADER: hmac.digest(key, event.raw, "sha256").hex(),
            "X-Crossdock-Id": event.id,
        },
    )


def make_secret() -> str:
    """256 random bits."""
    return secrets.token_hex(32)


DIALECT = Dialect(
    name="apicbase", types=frozenset({"apicbase.purchase_order"}), request=request, make_secret=make_secret
)
