"""uStore's signature: `X-Signature` = base64(HMAC-SHA512(signatureKey, raw body)), on requests and on our answers.

The document only specifies "hashed with the signatureKey using SHA-512"; the exact form is that of its users' C#. Hex
is accepted if the account has `signature_encoding = "hex"`.
"""

import base64
import hmac
from collections.abc import Mapping

from schemas.platform import Query, Signed
from schemas.platforms.ustore.config import Account

HEADER = "X-Signature"


def _signature(raw: bytes, secret: str, account: Account) -> str:
    digest = hmac.digest(secret.encode("utf-8", "surrogatepass"), raw, "sha512")
    return digest.hex() if account.signature_encoding == "hex" else base64.b64encode(digest).decode()


def verify(raw: bytes, headers: Mapping[str, str], query: Query, account: Account, /) -> str | None:
    """Return the account's secret that matches `X-Signature`, or None. In constant time per secret; never raises."""
    given = headers.get(HEADER, "").strip()
    if account.signature_encoding == "hex":
        given = given.lower()
    # Bytes are compared: comparing text raises on anything but ASCII, and aiohttp decodes bad bytes as surrogates.
    received = given.encode("utf-8", "surrogatepass")
    fitted = None
    for secret in account.secrets:
        if hmac.compare_digest(_signature(raw, secret, account).encode(), received) and fitted is None:
            fitted = secret
    return fitted


def sign(raw: bytes, account: Account, /) -> Signed:
    """Return what uStore would send with `raw`."""
    return Signed(headers={HEADER: _signature(raw, account.secrets[0], account)})


def sign_answer(body: bytes, secret: str, account: Account, /) -> dict[str, str]:
    """Return our answer's signature, made with the secret that verified the request: uStore may know only that one."""
    return {HEADER: _signature(body, secret, account)}
