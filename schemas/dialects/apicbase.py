"""As Apicbase sends a purchase order: signed with HMAC-SHA256 in lower-case hexadecimal, over the bytes sent.

The documented receiver hashes `json.dumps(request.data)`. So that it can verify, an order that is written otherwise
(compact, as Apicbase's API lists it, or with `é` unescaped) is sent as `json.dumps` writes it, where that changes no
value. Where it would (1.10 becomes 1.1, a repeated key is lost), the order is sent as received.
"""

import hmac
import json
import secrets

from schemas import canonical
from schemas.outbound import Credentials, Dialect, Event, Request

HEADER = "X-APIC-WEBHOOK-SIGNATURE"


def request(event: Event, credentials: Credentials, now: int) -> Request:
    """The header takes one signature: the newest secret's."""
    key = credentials.secrets[0].encode("utf-8", "surrogatepass")
    body = dumped(event.as_received())
    return Request(
        body=body,
        headers={
            "Content-Type": "application/json",
            HEADER: hmac.digest(key, body, "sha256").hex(),
            "X-Crossdock-Id": event.id,
        },
    )


def dumped(raw: bytes) -> bytes:
    """Return `raw` as Python's `json.dumps` writes what it reads; `raw` itself where that isn't the same document."""
    try:
        written = json.dumps(json.loads(raw, object_pairs_hook=_once)).encode()
    except (ValueError, RecursionError):  # no JSON, a repeated key, an integer of thousands of digits, nesting
        return raw
    return written if written != raw and canonical.digest(written) == canonical.digest(raw) else raw


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Raises ValueError for a key that stands twice: one of its values would be lost."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def make_secret() -> str:
    """256 random bits."""
    return secrets.token_hex(32)


DIALECT = Dialect(
    name="apicbase", types=frozenset({"apicbase.purchase_order"}), request=request, make_secret=make_secret
)
