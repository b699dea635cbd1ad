"""What went wrong, for whoever asked: problem+json (RFC 9457) that names the fields, or eComNow's `{"message"}`."""

import re
from collections.abc import Mapping
from http import HTTPStatus

import msgspec
from aiohttp import web

from schemas import problems

_PATH = re.compile(r" - at `\$\.?(.*)`$")
_UNKNOWN = re.compile(r"unknown field `(.+?)`")
_MISSING = re.compile(r"missing required field `(.+?)`")


class ProblemError(Exception):
    """An answer that is not what was asked for."""

    def __init__(
        self,
        status: int,
        detail: str,
        errors: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """`errors`: what is wrong, by field."""
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = dict(errors or {})
        self.headers = dict(headers or {})

    def response(self, *, basic: bool) -> web.Response:
        """`basic`: in the form of /basic/webhooks."""
        headers = {**self.headers, "Cache-Control": "no-store"}
        if basic:
            said = "; ".join([self.detail, *(f"{field}: {why}" for field, why in self.errors.items())])
            body = msgspec.json.encode({"message": said})
            return web.Response(status=self.status, body=body, content_type="application/json", headers=headers)
        more = {"errors": [{"field": name, "detail": why} for name, why in self.errors.items()]} if self.errors else {}
        body = problems.problem(self.status, HTTPStatus(self.status).phrase, self.detail, **more)
        return web.Response(status=self.status, body=body, content_type=problems.CONTENT_TYPE, headers=headers)


def invalid(errors: Mapping[str, str]) -> ProblemError:
    """400, by field."""
    return ProblemError(400, "The request is not valid; see `errors`.", errors)


def unreadable(error: msgspec.DecodeError) -> ProblemError:
    """400 of what msgspec says."""
    text = str(error)
    if not isinstance(error, msgspec.ValidationError):
        return ProblemError(400, f"The body is not JSON: {text}")
    for pattern, why in ((_UNKNOWN, "there is no such field"), (_MISSING, "this field is required")):
        if named := pattern.search(text):
            inside = _PATH.search(text)
            path = ".".join(part for part in (inside[1] if inside else "", named[1]) if part)
            return invalid({path: why})
    inside = _PATH.search(text)
    return invalid({inside[1] if inside else "": _PATH.sub("", text)})


NOT_FOUND = "There is nothing here, or it is not yours."
