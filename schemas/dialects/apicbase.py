"""A purchase order as Apicbase sends it: signed with HMAC-SHA256 in lower-case hexadecimal, over the bytes sent.

The documented receiver hashes `json.dumps(request.data)`. So that it can verify, an order that is written otherwise
(compact, as Apicbase's API lists it, or with `é` unescaped) is sent as `json.dumps` writes it, if that changes no
value. If it would (1.10 becomes 1.1, a repeated key is lost), the order is sent as received.
"""

import hmac
import json
import secrets

from schemas import canonical
from schemas.outbound import Credentials, Dialect, Event, Request

HEADER = "X-APIC-WEBHOOK-SIGNATURE"


def request(event: Event, credentials: Credentials, now: int) -> Request:
    """Return the signed request. The header holds one signature, made with the newest secret."""
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
    """Return `raw` as Python's `json` parses and writes it; `raw` itself if that is not the same document."""
    try:
        written = json.dumps(json.loads(raw, object_pairs_hook=_once)).encode()
    except (ValueError, RecursionError):  # not JSON, a repeated key, an integer of thousands of digits, nesting
        return raw
    return written if written != raw and canonical.digest(written) == canonical.digest(raw) else raw


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return an object. Raises ValueError for a repeated key, because one of its values would be lost."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a key is repeated")
    return members


def make_secret() -> str:
    """Return 256 random bits as text."""
    return secrets.token_hex(32)


DIALECT = Dialect(
    name="apicbase", types=frozenset({"apicbase.purchase_order"}), request=request, make_secret=make_secret
)
