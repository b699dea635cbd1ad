"""A webhook as ChannelApe sends it: the newest copy of the document, with a secret in the query string.

200-399 is success; until then it is repeated every 15 minutes "or a user intervenes".
"""

import secrets

from schemas.outbound import Credentials, Dialect, Event, Request


def request(event: Event, credentials: Credentials, now: int) -> Request:
    """Return a request with the body as received, in valid Unicode."""
    key = credentials.query_key
    query = ((key, credentials.secrets[0]),) if key and credentials.secrets else ()
    headers = {"Content-Type": "application/json", "X-Crossdock-Id": event.id}
    return Request(body=event.as_received(), headers=headers, query=query)


def make_secret() -> str:
    """Return 256 random bits as text that needs no escaping in a URL."""
    return secrets.token_urlsafe(32)


DIALECT = Dialect(
    name="channelape",
    types=None,
    request=request,
    success=range(200, 400),
    newest=True,
    forever=True,
    make_secret=make_secret,
    uses_query_key=True,
)
