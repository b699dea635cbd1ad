"""Siblings of reported inputs: numbers, log-ins, URLs and secrets as people write them into settings."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from deploy import config
from deploy.cli import check, check_limits, check_local
from deploy.config import ConfigError
from ingress.api import errors, shapes
from ingress.api.context import check_authorization
from schemas import credential_faults
from schemas.config import FORMATS, Config, Delivery, Ingress, parse_size
from tests.reports.test_linear import linear
from tests.reports.test_settings import KEYS, TEXT_ONLY, toml, warnings

ACCOUNTS: dict[str, Any] = {
    "apicbase": {"acme": {"secrets": ["hush-1"], "poll": {"client_id": "i", "client_secret": "hush-2"}}},
    "channelape": {"rothys": {"keys": [{"name": "token", "secret": "hush-3"}]}},
    "ustore": {"printshop": {"secrets": ["hush-4"], "manufacturers": [{"id": "2"}, {"id": "5"}]}},
}


def parsed(**sections: Any) -> Config:
    return config.parse({"accounts": ACCOUNTS, **sections}, Path())


def nested(key: str, value: object) -> dict[str, Any]:
    """Return the sections with one setting, which `key` names from the outside in."""
    head, _, rest = key.partition(".")
    return {head: nested(rest, value) if rest else value}


@pytest.mark.parametrize("value", [0, "0", "0MiB", -1])
@pytest.mark.parametrize("setting", ["max_body", "max_buffered"])
def test_a_size_that_refuses_everything_is_an_error(setting: str, value: object) -> None:
    """`max_body = 0`, which means no limit elsewhere, passed `check`, and every webhook got 413."""
    with pytest.raises(ConfigError, match=rf'^ingress\.{setting}: .*write bytes or a unit, as in "4MiB"'):
        parsed(ingress={setting: value})


def test_a_size_that_refuses_what_platforms_document_is_named() -> None:
    """`max_body = 1` passed `check`, and so did a `max_buffered` that `max_body` does not fit into."""
    (body,) = check_limits.limit_problems(parsed(ingress={"max_body": 1400}))
    assert "ingress.max_body = 1400 refuses" in body
    assert "channelape stock_transfer_order (1459 bytes)" in body
    assert "purchase_order" not in body
    (buffered,) = check_limits.limit_problems(parsed(ingress={"max_buffered": "3MiB"}))
    assert "ingress.max_buffered = '3MiB' is less than max_body = '4MiB'" in buffered


TIME_LIMITS = [
    *(
        f"ingress.{name}"
        for name in ("keepalive", "header_timeout", "body_timeout", "write_timeout", "confirm_timeout")
    ),
    "process.drain_timeout",
    "delivery.timeout",
]
INTERVALS = ["delivery.channelape_interval"]


@pytest.mark.parametrize("value", [math.inf, math.nan, 0, -1, 1e12, pytest.param(10**400, id="10^400")])
@pytest.mark.parametrize("key", [*TIME_LIMITS, *INTERVALS, "store.batch_wait", "storage.retention_days"])
def test_numbers_without_end_are_refused(key: str, value: float) -> None:
    """`timeout = inf` passed `check`: an attempt waited for ever, or a date was beyond the calendar."""
    if key == "store.batch_wait" and value == 0:
        assert parsed(store={"batch_wait": 0}).store.batch_wait == 0
        return
    with pytest.raises(ConfigError, match=rf"^{key}: (must be a (whole )?number|expected `int`|number out of range)"):
        parsed(**nested(key, value))


@pytest.mark.parametrize("value", [math.inf, 1e12, 2_592_001])
def test_the_configured_schedule_has_the_limits_of_the_api(value: float) -> None:
    """A delivery that failed got a next attempt after the last date that the driver can read."""
    for key in ("delivery.schedule", "accounts.apicbase.acme.poll.interval"):
        written = [0, value] if key.endswith("schedule") else value
        account = {"client_id": "i", "client_secret": "s", "interval": written}
        sections = nested(key, written) if key.startswith("delivery") else {}
        accounts = {"apicbase": {"acme": {"poll": account}}} if not sections else ACCOUNTS
        with pytest.raises(ConfigError, match=rf"^{key}.*: must be a number of at most 2592000"):
            config.parse({"accounts": accounts, **sections}, Path())
    assert msgspec.convert([2_592_000], shapes.Schedule) == [2_592_000]
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert([value], shapes.Schedule)


@pytest.mark.parametrize(
    "key", ["ingress.processes", "ingress.max_connections", "store.connections", "storage.body_days"]
)
def test_counts_without_end_are_refused(key: str) -> None:
    """A count of 10^30 passed `check`, and the process failed, or started as many others."""
    with pytest.raises(ConfigError, match=rf"^{key}: must be a whole number of at most"):
        parsed(**nested(key, 10**30))


@pytest.mark.parametrize(
    "weights", [{"2": 1e308, "5": 1e308}, {"2": math.inf}, {"2": 10**400}], ids=["sum", "inf", "10^400"]
)
def test_weights_and_amounts_without_end_are_refused(weights: dict[str, float]) -> None:
    """Two huge weights ended `check` with a traceback; `min_units = inf` was a rule that never matches."""
    for rule in ({"split": weights}, {"manufacturer": "2", "when": {"min_units": max(weights.values())}}):
        account = {**ACCOUNTS["ustore"]["printshop"], "rules": [rule]}
        with pytest.raises(ConfigError, match=r"accounts\.ustore\.printshop\.rules\[0\]"):
            config.parse({"accounts": {"ustore": {"printshop": account}}}, Path())


def test_a_number_of_thousands_of_digits_is_one_line(tmp_path: Path) -> None:
    """A number that Python does not read ended every command with a traceback."""
    (tmp_path / "crossdock.toml").write_text(f"[store]\nbatch = {'9' * 5000}\n")
    with pytest.raises(ConfigError, match="is not TOML"):
        config.load(tmp_path / "crossdock.toml")


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("ingress.confirm_timeout", 0.001, "are over before anything arrives"),
        ("ingress.body_timeout", 10_000, "is a number of seconds, not of milliseconds: write 10?"),
        ("delivery.timeout", 15_000, "is a number of seconds, not of milliseconds: write 15?"),
        ("process.drain_timeout", 10_000, "is a number of seconds, not of milliseconds: write 10?"),
        ("ingress.keepalive", 0.5, "closes connections"),
        ("delivery.channelape_interval", 0.25, "without a pause"),
        ("store.batch_wait", 5, "how long every webhook waits"),
        ("ingress.port", 0, "is another port after each start"),
        ("api.port", 0, "is another port after each start"),
        ("api.port", 8080, "are both 8080 on this machine"),
    ],
)
def test_numbers_that_harm_every_webhook_are_named(key: str, value: float, problem: str) -> None:
    """Time limits in milliseconds, or of next to nothing, passed `check`."""
    (line,) = check_limits.limit_problems(parsed(**nested(key, value)))
    assert key in line
    assert problem in line


def test_so_are_those_of_accounts_and_ports_that_do_not_suffice() -> None:
    accounts = {
        "apicbase": {
            "acme": {"verdict_timeout": 5000, "poll": {"client_id": "i", "client_secret": "s", "interval": 0.1}}
        },
        "ustore": {"printshop": {**ACCOUNTS["ustore"]["printshop"], "answer_timeout": 0.01}},
    }
    raw = {"accounts": accounts, "ingress": {"processes": 4}, "admin": {"port": 65_533}}
    lines = check_limits.limit_problems(config.parse(raw, Path()))
    assert [line.partition(" ")[0] for line in lines] == [
        "accounts.ustore.printshop.answer_timeout",
        "accounts.apicbase.acme.verdict_timeout",
        "accounts.apicbase.acme.poll.interval",
        "admin.port",
    ]


def test_older_brokers_have_a_limit_too() -> None:
    """RabbitMQ takes 128 MiB by default before 4.0; a larger `max_body` was not mentioned."""
    assert check.size_notes(parsed(ingress={"max_body": "128MiB"}), 3) == []
    (note,) = check.size_notes(parsed(ingress={"max_body": "129MiB"}), 3)
    assert "'129MiB' is more than RabbitMQ 3 takes by default (128 MiB)" in note


def test_the_defaults_are_not_accused() -> None:
    assert check_limits.limit_problems(parsed()) == []
    assert check_limits.limit_problems(Config()) == []
    assert parse_size(Ingress().max_body) > 0
    assert max(Delivery().schedule) == 86_400


def logins(*subscribers: tuple[str, str]) -> list[str]:
    named = {
        f"s{n}": {"username": user, "password": password, "accounts": ["*"]}
        for n, (user, password) in enumerate(subscribers)
    }
    return check_local.login_problems(parsed(subscribers=named))


def test_subscribers_with_the_same_login_are_named() -> None:
    """Of two with the same name and password the last one won, and the other could never log in."""
    (line,) = logins(("b", "hush"), ("b", "other"), ("b", "hush"), ("c", "hush"))
    assert line.startswith("subscribers.s0 and subscribers.s2 have the same user name and password")
    assert "hush" not in line
    assert len(logins(("Zoe\u0308", "hush"), ("Zo\u00eb", "hush"))) == 1  # compared as log-ins are


def test_a_user_name_with_a_colon_is_named() -> None:
    """HTTP Basic ends the name at its first colon; only the headers `Username` and `Password` carry it."""
    (line,) = logins(("bo:ards", "pass:word"))
    assert line.startswith("subscribers.s0.username: HTTP Basic can't carry a colon in a name")


def test_an_empty_user_name_is_an_error_with_the_name_of_the_subscriber() -> None:
    """A subscriber without a user name could never log in."""
    with pytest.raises(ConfigError, match=r"^subscribers\.boards\.username: must not be empty"):
        parsed(subscribers={"boards": {"username": "", "password": "hush", "accounts": []}})


@pytest.mark.parametrize(
    "url",
    ["api.example.com", "//api.example.com", "https:/api.example.com", "https://", "ftp://h", "https://h:99999",
     "https://u:hush@h", "https://h/?q=hush", "https://h/#hush", "https://h h", "https://h\n"],
)  # fmt: skip
def test_urls_that_paths_cannot_be_added_to_are_refused(url: str) -> None:
    """`public_url = "api.example.com"` passed `check`, and nobody could follow a `dataref`."""
    sections: list[dict[str, Any]] = [{"api": {"public_url": url}}, {"telemetry": {"otlp_endpoint": url}}]
    poll = {"client_id": "i", "client_secret": "s", "base_url": url}
    for raw in (*sections, {"accounts": {"apicbase": {"a": {"poll": poll}}}}):
        with pytest.raises(ConfigError, match=r"public_url|otlp_endpoint|base_url") as error:
            config.parse(raw, Path())
        assert "hush" not in str(error.value)
    assert parsed(api={"public_url": "https://h:8443/crossdock"}).api.public_url == "https://h:8443/crossdock"


REFERENCES = [
    "env:HUSH", "$env:HUSH", "${{ secrets.HUSH }}", "%env(HUSH)%", "env(HUSH)", "!env HUSH", "process.env.HUSH",
    "os.environ['HUSH']", "os.getenv('HUSH')", "ENV['HUSH']", "file:/run/hush", "file:///run/hush", "vault:hush#key",
    "secret:hush", "op://hush/item/field", "vault://hush", "sm://hush/x", "ref+vault://hush", "ssm:/hush",
    "arn:aws:secretsmanager:eu-west-1:1:secret:hush", "projects/1/secrets/hush/versions/latest",
    "@Microsoft.KeyVault(SecretUri=https://hush)", "$ANSIBLE_VAULT;1.1;AES256;hush", "ENC[AES256_GCM,data:hush]",
    "{cipher}hush", "/run/secrets/hush", "secretref:hush", "#{Hush}#", "…", "...", "***", "changeme",
    "CHANGE-ME", "your-hush-secret", "your secret key here", "TODO", "@@HUSH@@", "__HUSH__", "Basic ${HUSH}",
    "Bearer env:HUSH",
]  # fmt: skip


@pytest.mark.parametrize("written", REFERENCES)
@pytest.mark.parametrize("field", ["password", "authorization"])
def test_a_reference_to_a_secret_is_named_and_not_shown(tmp_path: Path, field: str, written: str) -> None:
    """`secret = "env:CHANNELAPE_SECRET"` passed `check`, and every webhook got 401."""
    (line,) = warnings(tmp_path, field, toml(written))
    assert line.startswith(f"{KEYS[field]}: ")
    assert any(word in line for word in ("name of a variable", "placeholder", "an example", "refers to a secret"))
    assert "hush" not in line.lower()


@pytest.mark.parametrize("field", sorted(KEYS.keys() - TEXT_ONLY))
@pytest.mark.parametrize(
    "good",
    [
        "environment",
        "Basic YTpiOmM=",
        "secret",
        "/abc/def==",
        "opus:x",
        "whsec_c2VjcmV0",
        "token abc",
        "_x_",
        "$2b$10$x",
    ],
)
def test_a_secret_that_only_looks_a_little_like_a_reference_is_not_accused(
    tmp_path: Path, field: str, good: str
) -> None:
    assert warnings(tmp_path, field, toml(good)) == []


@pytest.mark.parametrize("piece", ["your_", "a_", "env", "(", "{", "process.env", "$"])
def test_secrets_are_looked_at_in_linear_time(piece: str) -> None:
    """A secret, and the header of a subscription, may be any text."""
    linear(credential_faults.fault, lambda size: piece * (size // len(piece)), 50_000)


def test_a_header_of_a_subscription_may_hold_any_text_but_a_url() -> None:
    assert check_authorization("secret:abc") is None
    assert check_authorization("changeme") is None
    assert check_authorization("Basic YTpi") is None
    for wrong in ("op://vault/item", "Bearer env:HUSH", "${{ secrets.HUSH }}"):
        assert "must be the value itself" in str(check_authorization(wrong))


@pytest.mark.parametrize("key", ["a b", "", "k" * 65, "schlüssel"])
@pytest.mark.parametrize("shape", [shapes.NewSubscription, shapes.Changes])
def test_what_a_field_must_look_like_is_said_in_words(shape: type[Any], key: str) -> None:
    """`query_key` was answered with a bare regular expression."""
    body = msgspec.json.encode({"url": "https://h/x", "query_key": key})
    with pytest.raises(msgspec.ValidationError) as error:
        msgspec.json.decode(body, type=shape)
    expected = "must be 1 to 64 visible ASCII characters without blanks, such as @authtoken"
    assert errors.unreadable(error.value, body).errors == {"query_key": expected}


def test_every_pattern_has_words() -> None:
    """A pattern without an entry in the table would be shown as it is."""
    for shape, formats in (*((shape, shapes.FORMATS) for shape in vars(shapes).values()), (Config, FORMATS)):
        if isinstance(shape, type) and issubclass(shape, msgspec.Struct):
            assert set(patterns(msgspec.json.schema(shape))) <= formats.keys()


def patterns(schema: object) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(pattern := schema.get("pattern"), str):
            yield pattern
        schema = list(schema.values())
    for inner in schema if isinstance(schema, list) else ():
        yield from patterns(inner)
