"""Standard Webhooks 1.0 (standardwebhooks.com): the CloudEvent, signed with HMAC-SHA256 over id, time and body."""

import base64
import binascii
import hmac
import secrets
from functools import lru_cache

from schemas import cloudevents
from schemas.outbound import Credentials, Dialect, Event, Request

PREFIX = "whsec_"
SHORTEST, LONGEST = 24, 64
"""Bytes of a secret, as the specification asks."""


def request(event: Event, credentials: Credentials, now: int) -> Request:
    """Every secret signs: after a rotation both do, and a receiver that has either takes it."""
    body = cloudevents.encode(
        id=event.id,
        platform=event.platform,
        account=event.account,
        type=event.type,
        key=event.key,
        received_at=event.received_at,
        version=event.version,
        traceparent=event.traceparent,
        data=event.data,
        raw=event.raw,
        dataref=event.dataref,
    )
    content = b"%b.%d.%b" % (event.id.encode(), now, body)
    signatures = [base64.b64encode(_sign(secret, content)) for secret in credentials.secrets]
    return Request(
        body=body,
        headers={
            "Content-Type": cloudevents.CONTENT_TYPE,
            "webhook-id": event.id,
            "webhook-timestamp": str(now),
            "webhook-signature": " ".join(f"v1,{signature.decode()}" for signature in signatures),
        },
    )


def make_secret() -> str:
    """Return 32 random bytes in the specification's format."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def check_secret(secret: str) -> str | None:
    """Return what is wrong with a secret; None if it is valid."""
    wrong = f"must be {PREFIX} and the base64 of {SHORTEST} to {LONGEST} bytes"
    try:
        return None if secret.startswith(PREFIX) and SHORTEST <= len(_key(secret)) <= LONGEST else wrong
    except (binascii.Error, ValueError):
        return wrong


def _sign(secret: str, content: bytes) -> bytes:
    signature = _keyed(secret).copy()
    signature.update(content)
    return signature.digest()


@lru_cache(maxsize=1024)
def _keyed(secret: str) -> hmac.HMAC:
    """Return an HMAC of nothing yet, to be copied: preparing the key takes as long as signing."""
    return hmac.new(_key(secret), digestmod="sha256")


def _key(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix(PREFIX), validate=True)


DIALECT = Dialect(
    name="standard",
    types=None,
    request=request,
    make_secret=make_secret,
    check_secret=check_secret,
    two_secrets=True,
    can_be_thin=True,
)
