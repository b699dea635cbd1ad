"""DATABASE_URL as providers supply it, without the parameters of other drivers that the server does not know."""

from urllib.parse import parse_qsl, quote, urlencode

CLIENT_ONLY = frozenset(
    {
        "connect_timeout",  # we set our own time limits
        "keepalives",
        "keepalives_idle",
        "keepalives_interval",
        "keepalives_count",
        "tcp_user_timeout",
        "client_encoding",  # always UTF-8
        "fallback_application_name",
        "load_balance_hosts",
        "gssencmode",
        "sslcompression",
        "sslsni",
        "channel_binding",
        # The next four are Prisma's; providers include them in the address of a pooler.
        "pgbouncer",
        "connection_limit",
        "pool_timeout",
        "sslaccept",
    }
)
"""Parameters that configure the connection of another driver and are unknown to the server."""
UNSUPPORTED = {("channel_binding", "require"), ("gssencmode", "require"), ("sslaccept", "strict")}
"""Settings that cannot be left out without weakening the connection's security."""


def clean(url: str) -> str:
    """Return the URL without the parameters that only other drivers know.

    Raises ValueError if one of them demands a protection that we cannot provide; the message names it.
    """
    before, mark, query = url.partition("?")
    if not mark:
        return url
    pairs = parse_qsl(query, keep_blank_values=True)
    for name, value in pairs:
        if (name, value) in UNSUPPORTED:
            raise ValueError(f"DATABASE_URL: {name}={value} is not supported: remove it (TLS is set by sslmode)")
    kept = [(name, value) for name, value in pairs if name not in CLIENT_ONLY]
    if len(kept) == len(pairs):
        return url
    return f"{before}?{urlencode(kept, quote_via=quote)}" if kept else before
