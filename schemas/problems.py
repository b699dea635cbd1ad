"""HTTP error bodies in `application/problem+json` (RFC 9457)."""

import msgspec

CONTENT_TYPE = "application/problem+json"

_encode = msgspec.json.Encoder().encode


def problem(status: int, title: str, detail: str | None = None, **more: object) -> bytes:
    """Return the JSON body of an error response.

    `title` is the same for every error of a kind, `detail` describes this occurrence, and `more` are extension members.
    A problem without `type` has the type "about:blank" (RFC 9457 §4.2.1), so that member is omitted.
    """
    members = {"title": title, "status": status}
    if detail is not None:
        members["detail"] = detail
    return _encode(members | more)
