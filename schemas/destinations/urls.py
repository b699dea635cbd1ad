"""Strict parsing of a subscriber's URL, and its canonical form, which is the one that is called. Pure.

Parsers of URLs disagree about backslashes, blanks, userinfo and odd spellings of addresses, and every disagreement
between the parser that checks and the parser that connects is a hole. So a URL is parsed once, and the result is
called: the host in canonical spelling, the rest unchanged. No error text repeats any part of the URL.
"""

import re
import unicodedata
from collections.abc import Iterable
from urllib.parse import quote

import msgspec
from yarl import URL

from schemas import invisible
from schemas.destinations import addresses

LONGEST = 4096
"""Maximum characters. Servers commonly reject request lines above 8 KiB, and the query key is still to be added."""

_PARTS = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<path>/[^?#]*)?(?:\?(?P<query>.*))?"
)
_AUTHORITY = re.compile(r"(?:\[(?P<bracketed>[^\[\]]*)\]|(?P<host>[^:\[\]]*))(?::(?P<port>[0-9]*))?")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_UNREADABLE = re.compile(r"[\x00-\x20\x7f-\xa0\\\u2028\u2029\ud800-\udfff]|\s")
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_KEPT = "/?:@!$&'()*+,;=-._~%"
"""Characters that a path or query may contain unencoded (RFC 3986 §3.4), and the percent sign of encoded ones."""
_DEFAULT_PORTS = {"http": 80, "https": 443}


class BlockedError(Exception):
    """Raised if nothing may be sent to a URL. The text explains what to change, without repeating any of the URL."""


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A URL that was parsed and checked."""

    scheme: str
    host: str
    """A name in lower case and punycode, or an address in canonical spelling, without brackets."""
    address: bool
    """Whether `host` is an address."""
    port: int
    path: str
    query: str
    """As written, except that characters which a URL may not contain are encoded."""

    @property
    def origin(self) -> tuple[str, str, int]:
        """The origin: requests to the same one may share a connection."""
        return self.scheme, self.host, self.port

    @property
    def authority(self) -> str:
        """The value of the Host header, without a trailing dot and the scheme's default port (RFC 9110 §7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host.rstrip(".")
        return host if self.port == _DEFAULT_PORTS.get(self.scheme) else f"{host}:{self.port}"

    def resource(self, extra: Iterable[tuple[str, str]] = ()) -> str:
        """Return path and query with `extra` added to the query. What is encoded already is not encoded again."""
        added = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in extra)
        query = f"{self.query}&{added}" if self.query and added and self.query[-1] != "&" else self.query + added
        return f"{self.path}?{query}" if query else self.path

    def __repr__(self) -> str:
        return "Target(…)"


def parse(url: str) -> Target:
    """Parse a URL with a host. Raises BlockedError."""
    if len(url) > LONGEST:
        raise BlockedError(f"the URL is longer than {LONGEST:,} characters")
    if _UNREADABLE.search(url):
        raise BlockedError("the URL holds a space, a line break, a backslash or a control character; percent-encode it")
    if (character := invisible.first_invisible(url)) is not None:
        raise BlockedError(f"the URL holds an invisible character ({character}); enter it again instead of copying it")
    if "#" in url:
        raise BlockedError("the URL has a fragment (#…), which is never sent; leave it out")
    match = _PARTS.fullmatch(url)
    if match is None:
        raise BlockedError("this is not an absolute URL; write it like https://example.com/hooks")
    if "@" in match["authority"]:
        raise BlockedError(
            "the URL holds a user name or password; leave it out and use the subscription's authorization"
        )
    authority = _AUTHORITY.fullmatch(match["authority"])
    if authority is None:
        raise BlockedError("the URL's host or port can't be read; write it as in https://example.com:8443/hooks")
    scheme = match["scheme"].lower()
    host, is_address = _bracketed(authority["bracketed"]) if authority["host"] is None else _host(authority["host"])
    return Target(
        scheme=scheme,
        host=host,
        address=is_address,
        port=_port(authority["port"], scheme),
        path=_encoded(match["path"] or "/"),
        query=_encoded(match["query"] or ""),
    )


def _port(text: str | None, scheme: str) -> int:
    if not text:
        return _DEFAULT_PORTS.get(scheme, 0)
    if len(text) > 5 or not 1 <= int(text) <= 65535:
        raise BlockedError("the URL's port is not between 1 and 65535")
    return int(text)


def _bracketed(text: str) -> tuple[str, bool]:
    try:
        if ":" in text:
            return addresses.literal(text) or "", True
    except ValueError:
        pass
    raise BlockedError("the text in brackets in the URL is not an IPv6 address")


def _host(text: str) -> tuple[str, bool]:
    if not text:
        raise BlockedError("the URL has no host")
    try:
        # Compatibility forms first (full-width digits, circled numbers, ideographic full stops): what a resolver would
        # make of them is judged, not what they look like. Names then as browsers do (IDNA 2008 with UTS 46).
        folded = re.sub("[。．｡]", ".", unicodedata.normalize("NFKC", text)).lower()
        name = URL.build(scheme="https", host=folded).raw_host or ""
        literal = addresses.literal(name.rstrip("."))
    except ValueError:
        raise BlockedError("the URL's host is neither a name nor an IP address") from None
    if literal is not None:
        return literal, True
    # One dot at the end is the root, and keeps the resolver from trying its search list.
    labels = name.removesuffix(".").split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise BlockedError("the URL's host is neither a name nor an IP address")
    return name, False


def _encoded(text: str) -> str:
    return quote(_STRAY_PERCENT.sub("%25", text), safe=_KEPT)
