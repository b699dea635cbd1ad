"""DATABASE_URL as providers hand it out."""

import pytest

from storage import dsn


@pytest.mark.parametrize(
    ("query", "left"),
    [
        ("", ""),
        ("?sslmode=prefer&channel_binding=prefer&connect_timeout=10", "?sslmode=prefer"),
        ("?pgbouncer=true&connection_limit=1", ""),
        ("?schema=public&statement_cache_size=0", ""),
        ("?prepareThreshold=0&binary_parameters=yes&uselibpqcompat=true&sslmode=require", "?sslmode=require"),
        ("?connect_timeout=10&keepalives=1&keepalives_idle=30&gssencmode=disable", ""),
        ("?application_name=x&options=-c%20jit%3Doff", "?application_name=x&options=-c%20jit%3Doff"),
        (
            "?sslrootcert=/a/b.pem&target_session_attrs=read-write",
            "?sslrootcert=/a/b.pem&target_session_attrs=read-write",
        ),
    ],
)
def test_parameters_that_only_libpq_knows_are_left_out(query: str, left: str) -> None:
    base = "postgresql://u:p%40@h:5432,i:5433/db"
    assert dsn.clean(base + query) == base + left


@pytest.mark.parametrize("scheme", ["postgresql+asyncpg", "postgresql+psycopg", "postgres+pg8000", "jdbc:postgresql"])
def test_other_drivers_ways_to_begin_a_url_are_understood(scheme: str) -> None:
    plain = scheme.removeprefix("jdbc:").partition("+")[0]
    assert dsn.clean(f"{scheme}://u:p@h/db?sslmode=require") == f"{plain}://u:p@h/db?sslmode=require"


def test_a_parameter_that_would_weaken_tls_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="channel_binding=require is not supported: remove it") as refused:
        dsn.clean("postgresql://u:hush@h/db?channel_binding=require")
    assert "hush" not in str(refused.value)
