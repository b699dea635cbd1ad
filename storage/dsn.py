"""DATABASE_URL as providers hand it out: without the parameters of libpq that the server would not know."""

from urllib.parse import parse_qsl, quote, urlencode

CLIENT_ONLY = frozenset(
    {
        "connect_timeout",  # ours are bounded anyway
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
        "pgbouncer",  # these four are Prisma's, and providers hand them out with a pooler's address
        "connection_limit",
        "pool_timeout",
        "sslaccept",
    }
)
"""They set up the connection of another driver, so that the server does not know them."""
UNSUPPORTED = {("channel_binding", "require"), ("gssencmode", "require"), ("sslaccept", "strict")}
"""What would be weakened if it were left out."""


def clean(url: str) -> str:
    """Return the URL without the parameters that only libpq knows. Raises ValueError that names one we can't honour."""
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
