"""Errors over HTTP: `application/problem+json` (RFC 9457)."""

from typing import Any

import msgspec

CONTENT_TYPE = "application/problem+json"

_encode = msgspec.json.Encoder().encode


def problem(status: int, title: str, detail: str | None = None, **more: Any) -> bytes:
    """The body. `title` is the same for every error of a kind, `detail` is about this one; `more` are extension
    members. Without a `type` of its own a problem is "about:blank" (RFC 9457, 4.2.1), which needs no saying."""
    said = {"title": title, "status": status}
    if detail is not None:
        said["detail"] = detail
    return _encode(said | more)
