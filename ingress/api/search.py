"""/v1/find: a handler that looks up a number, an article or an id for the operator."""

from aiohttp import web

from ingress.api.auth import Caller
from ingress.api.context import Context, json_response
from ingress.api.errors import ProblemError, invalid
from schemas.values import value_problem
from storage import find as lookup
from storage.database import Connection

MAX_LENGTH = 512
"""Maximum characters of a text; keys and articles have at most as many bytes."""


async def find(context: Context, connection: Connection, request: web.Request, caller: Caller) -> web.Response:
    """200: everything that has the text `q`, which may be nothing. 403 for subscribers, who see only what is theirs."""
    if not caller.operator:
        raise ProblemError(403, "Only the operator may look things up; log in with the operator's token.")
    texts = request.query.getall("q", [])
    if len(texts) != 1:
        raise invalid({"q": "is required, once"})
    (text,) = texts
    if (problem := value_problem(text)) is not None:
        raise invalid({"q": problem})
    if len(text) > MAX_LENGTH:
        raise invalid({"q": f"must have at most {MAX_LENGTH} characters"})
    if not lookup.normalized(text):
        raise invalid({"q": "must not be blank"})
    return json_response(await lookup.find(connection, text))
