"""DATABASE_URL as providers hand it out."""

import pytest

from storage import dsn


@pytest.mark.parametrize(
    ("query", "left"),
    [
        ("", ""),
        ("?sslmode=prefer&channel_binding=prefer&connect_timeout=10", "?sslmode=prefer"),
        ("?pgbouncer=true&connection_limit=1", ""),
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


def test_what_would_be_weakened_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="channel_binding=require is not supported: remove it") as refused:
        dsn.clean("postgresql://u:hush@h/db?channel_binding=require")
    assert "hush" not in str(refused.value)
