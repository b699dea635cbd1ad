"""DATABASE_URL as providers supply it, without the parameters of other drivers that the server does not know."""

import re
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
        # The next five are Prisma's; providers include them in the address of a pooler. Our schema has a fixed name.
        "pgbouncer",
        "connection_limit",
        "pool_timeout",
        "sslaccept",
        "schema",
        # Settings of SQLAlchemy's drivers, JDBC, Go's lib/pq and node-postgres.
        "statement_cache_size",
        "prepared_statement_cache_size",
        "prepareThreshold",
        "binary_parameters",
        "uselibpqcompat",
    }
)
"""Parameters that configure the connection of another driver and are unknown to the server."""
UNSUPPORTED = {("channel_binding", "require"), ("gssencmode", "require"), ("sslaccept", "strict")}
"""Settings that cannot be left out without weakening the connection's security."""
_DRIVER = re.compile(r"^(?:jdbc:)?(postgres|postgresql)(?:\+\w+)?://")
"""The scheme, with the driver that SQLAlchemy adds to it, or JDBC's prefix."""
TLS_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_TLS_SYNONYMS = {
    **{mode: mode for mode in TLS_MODES},
    **dict.fromkeys(("true", "1", "yes", "on", "no-verify"), "require"),
    **dict.fromkeys(("false", "0", "no", "off"), "disable"),
}
"""Values of `ssl` and `sslmode` for libpq, node-postgres, JDBC and SQLAlchemy, in libpq's terms."""


def clean(url: str) -> str:
    """Return the URL without what only other drivers know, and with TLS in libpq's terms.

    Raises ValueError if one of them demands a protection that we cannot provide, or none that we know; the message
    names it.
    """
    url = _DRIVER.sub(r"\1://", url)
    before, mark, query = url.partition("?")
    if not mark:
        return url
    pairs = parse_qsl(query, keep_blank_values=True)
    for name, value in pairs:
        if (name, value) in UNSUPPORTED:
            raise ValueError(f"DATABASE_URL: {name}={value} is not supported: remove it (TLS is set by sslmode)")
    kept = [pair for pair in _with_tls_mode(pairs) if pair[0] not in CLIENT_ONLY]
    if kept == pairs:
        return url
    return f"{before}?{urlencode(kept, quote_via=quote)}" if kept else before


def _with_tls_mode(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the pairs with `sslmode` for `ssl=true` and other spellings; `sslmode` goes before `ssl`."""
    names = [name.lower() for name, _ in pairs]
    result = []
    for (name, value), lower in zip(pairs, names, strict=True):
        if lower not in ("ssl", "sslmode"):
            result.append((name, value))
            continue
        mode = _TLS_SYNONYMS.get(value.strip().lower().replace("_", "-"))
        if mode is None:
            known = f"{', '.join(TLS_MODES[:-1])} or {TLS_MODES[-1]}"
            raise ValueError(f"DATABASE_URL: the value of {name} is not known; write sslmode={known}")
        if lower == "sslmode" or "sslmode" not in names:
            result.append(("sslmode", mode))
    return result
