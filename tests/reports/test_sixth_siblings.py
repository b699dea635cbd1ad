"""What a sixth user stumbled over: a URL that fails as if its host were unknown."""

import pytest

from schemas import serverurls


@pytest.mark.parametrize("name", ["DATABASE_URL", "AMQP_URL"])
@pytest.mark.parametrize("password", ["p@ssw0rd", "@", "a@b@c", "p%40ss@w0rd"])
def test_an_at_sign_in_a_password_does_not_end_it(name: str, password: str) -> None:
    """`postgres://shop:p@ssw0rd@127.0.0.1/db` was "Name or service not known" at a host that is an address."""
    encoded = password.replace("@", "%40")
    for rest in ("@host:5432/name", "@host1:5432,host2:5432/name", "@host"):
        assert serverurls.checked(name, f"scheme://shop:{password}{rest}") == f"scheme://shop:{encoded}{rest}"
        assert serverurls.checked(name, f"scheme://shop:{encoded}{rest}") == f"scheme://shop:{encoded}{rest}"
    assert serverurls.checked(name, "scheme://host/name?user=a@b") == "scheme://host/name?user=a@b"
