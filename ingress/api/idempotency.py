"""Idempotency-Key: requests with the same key and body get the same response, however often they are sent.

The response is stored in the transaction that does the work, so that either both exist or neither does. A second
request waits on the key's row until the first has ended.
"""

import hashlib
from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web

from ingress.api.auth import Caller
from ingress.api.context import Context, read
from ingress.api.errors import ProblemError, invalid
from storage.database import Connection
from storage.sql import query
from storage.subscriptions import answer_owner
from storage.vault import UndecryptableError

HEADER = "Idempotency-Key"
KEPT = ("Content-Type", "Location", "Cache-Control")
"""Headers that are stored with a response."""


class _StoredResponse(msgspec.Struct):
    body: bytes
    headers: dict[str, str]


async def with_idempotency(
    context: Context,
    connection: Connection,
    request: web.Request,
    caller: Caller,
    do: Callable[[], Awaitable[web.Response]],
) -> web.Response:
    """Return the response of `do`, or the stored one of an earlier request with the same key. Raises ProblemError.

    Call it within the request's transaction.
    """
    name = request.headers.get(HEADER)
    if name is None:
        return await do()
    if not (1 <= len(name) <= 255 and name.isascii() and name.isprintable()):
        raise invalid({HEADER: "must be 1 to 255 printable ASCII characters"})
    digest = hashlib.blake2b(
        b"\0".join((request.method.encode(), request.path.encode(), await read(request))), digest_size=16
    ).digest()
    owner = f"{caller.subscriber}\n{'operator' if caller.operator else ''}"
    associated = answer_owner(owner, name)
    if await connection.fetchval(query("subscriptions", "begin_idempotent"), owner, name, digest) is None:
        row = await connection.fetchrow(query("subscriptions", "idempotent"), owner, name)
        if row is None:
            raise ProblemError(409, "A request with this Idempotency-Key has just been rolled back; send it again.")
        if row["digest"] != digest:
            raise ProblemError(422, "This Idempotency-Key was used for another request; use a new one.")
        try:
            stored = msgspec.msgpack.decode(context.vault.decrypt(row["sealed"], associated), type=_StoredResponse)
        except UndecryptableError:
            raise ProblemError(
                409,
                "This Idempotency-Key was used before, and its response can no longer be read, because the "
                "service's encryption key has changed; check what the first request did, and use a new key.",
            ) from None
        return web.Response(
            status=row["status"],
            body=stored.body,
            headers={**stored.headers, "Idempotency-Replayed": "true"},
        )
    response = await do()
    assert isinstance(response.body, bytes)
    headers = {key: value for key, value in response.headers.items() if key in KEPT}
    sealed = context.vault.encrypt(msgspec.msgpack.encode(_StoredResponse(response.body, headers)), associated)
    await connection.execute(query("subscriptions", "end_idempotent"), owner, name, response.status, sealed)
    return response
