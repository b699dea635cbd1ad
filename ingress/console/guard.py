"""Headers of every response, and the refusal of requests that another site has made a browser send.

An unsafe request must come from a page of this console. Browsers say so in `Sec-Fetch-Site`; where that header is
missing, which it is over plain HTTP outside this machine, `Origin` must name the host that was requested.
"""

from aiohttp import hdrs, web

from ingress.console.errors import PageError

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; font-src 'none'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Headers of every response."""
FETCH_SITE = "Sec-Fetch-Site"
SAME_ORIGIN = "same-origin"


def check_origin(request: web.Request) -> None:
    """Raise PageError (403) for a request that does not come from a page of this console."""
    site = request.headers.get(FETCH_SITE)
    if site is not None:
        is_ours = site == SAME_ORIGIN
    else:
        _, separator, host = request.headers.get(hdrs.ORIGIN, "").partition("://")
        is_ours = bool(separator and host) and host == request.headers.get(hdrs.HOST)
    if not is_ours:
        raise PageError(
            403,
            "This did not come from a page of the console",
            "Nothing was changed. Open the page in this console and use its buttons; a program sends the header "
            "Sec-Fetch-Site: same-origin.",
        )


def is_from_elsewhere(request: web.Request) -> bool:
    """Return whether a link on another site leads here: browsers then leave out a cookie with SameSite=Strict."""
    return request.headers.get(FETCH_SITE) in ("cross-site", "same-site")
