"""Error responses: problem+json (RFC 9457) that names the fields, or eComNow's `{"message"}` under /basic/."""

import re
from collections.abc import Mapping
from http import HTTPStatus

import msgspec
from aiohttp import web

from ingress.api.shapes import FORMATS
from schemas import malformed, mismatches, problems

NOT_FOUND = "There is nothing here, or it is not yours."

_EXAMPLE_TIME = "2026-01-30T10:00:00Z"
_PATH = re.compile(r" - at `\$\.?(.*)`$")
_UNKNOWN = re.compile(r"unknown field `(.+?)`")
_MISSING = re.compile(r"missing required field `(.+?)`")


class ProblemError(Exception):
    """A request that ends with an error response."""

    def __init__(
        self,
        status: int,
        detail: str,
        errors: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """`errors`: what is wrong with each invalid field, by its name."""
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = dict(errors or {})
        self.headers = dict(headers or {})

    def response(self, *, basic: bool) -> web.Response:
        """Return the response; `basic` selects the format of /basic/webhooks."""
        if basic:
            content_type = "application/json"
            message = "; ".join([self.detail, *(f"{field}: {reason}" for field, reason in self.errors.items())])
            body = msgspec.json.encode({"message": message})
        else:
            content_type = problems.CONTENT_TYPE
            fields = [{"field": field, "detail": reason} for field, reason in self.errors.items()]
            more = {"errors": fields} if fields else {}
            body = problems.problem(self.status, HTTPStatus(self.status).phrase, self.detail, **more)
        headers = {**self.headers, "Cache-Control": "no-store"}
        return web.Response(status=self.status, body=body, content_type=content_type, headers=headers)


def not_found() -> ProblemError:
    """Return a 404, which doesn't reveal whether the object belongs to another subscriber."""
    return ProblemError(404, NOT_FOUND)


def invalid(errors: Mapping[str, str]) -> ProblemError:
    """Return a 400 that says what is wrong with each field."""
    return ProblemError(400, "The request is not valid; see `errors`.", errors)


def retry_later(status: int, detail: str, *, seconds: int = 5) -> ProblemError:
    """Return a 429 or 503 with `Retry-After`."""
    return ProblemError(status, detail, headers={"Retry-After": str(seconds)})


def unreadable(error: msgspec.DecodeError, raw: bytes) -> ProblemError:
    """Return a 400 that explains why a body, `raw`, could not be decoded."""
    text = str(error)
    if not isinstance(error, msgspec.ValidationError):
        return ProblemError(400, f"The body is not JSON: {malformed.explain(error, raw)}")
    inside = _PATH.search(text)
    path = inside[1] if inside else ""
    for pattern, reason in ((_UNKNOWN, "there is no such field"), (_MISSING, "this field is required")):
        if named := pattern.search(text):
            return invalid({".".join(part for part in (path, named[1]) if part): reason})
    reason = mismatches.without_patterns(_PATH.sub("", text), FORMATS)
    return invalid({path: f"{reason}; write it as in {_EXAMPLE_TIME}" if "datetime" in reason else reason})
