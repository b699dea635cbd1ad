"""Siblings of reported inputs: numbers, secrets, lists, URLs and names as people write them into settings."""

import csv
import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest

from broker.management import Management, ManagementError
from deploy import config
from deploy.cli import check, check_limits, check_local
from deploy.cli.errors import CommandError, explain
from deploy.cli.servers import check_amqp_url, check_database_url
from deploy.config import ConfigError
from ingress.api import errors, shapes
from ingress.api.context import check_authorization
from schemas import canonical, credential_faults, documents, encodings, lenient, registry
from schemas.config import FORMATS, Config, Delivery, Ingress, parse_size
from schemas.platform import UnreadableError
from schemas.platforms.apicbase.config import Account
from storage import database
from tests.reports import test_poolers
from tests.reports.test_csv_files import listed
from tests.reports.test_linear import linear
from tests.reports.test_settings import KEYS, TEXT_ONLY, toml, warnings
from workers.route import apicbase
from workers.route.ustore import addresses, geonames

pgbouncer = test_poolers.pgbouncer

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


CHECKS: list[tuple[Callable[[str], str], str, str]] = [
    (check_amqp_url, "AMQP_URL", "amqp"),
    (check_database_url, "DATABASE_URL", "postgresql"),
]


@pytest.mark.parametrize(("check", "name", "scheme"), CHECKS)
@pytest.mark.parametrize(
    ("url", "corrected"),
    [
        ("S://u:hush@h1:5672/,S://u:hush@h2:5672/", "S://user:password@h1:5672,h2:5672/"),
        ("S://u:hush@h1:5672//;S://u:hush@h2:5672//", "S://user:password@h1:5672,h2:5672//"),
        ("S://u:hush@h1/v, S://u:hush@h2/v", "S://user:password@h1,h2/v"),
        ("S://u:hush@h1:5672 S://u:hush@h2:5672/v", "S://user:password@h1:5672,h2:5672/v"),
        ("S://u:hush@h1:5672/v\nS://u:hush@h2:5672/v\n", "S://user:password@h1:5672,h2:5672/v"),
        ("S://u:hush@[::1]:5672,u:hush@[::2]:5672/v", "S://user:password@[::1]:5672,[::2]:5672/v"),
        ("['S://u:hush@h1', 'S://u:hush@h2']", "S://user:password@h1,h2"),
        ("S://h1:5672;S://h2:5672", "S://h1:5672,h2:5672"),
        ("S://u:hu@sh@h1/v,S://u:hush@h2/v", None),
        ("S://u:hu/sh@h1/v,S://u:hush@h2/v", None),
        ("S://u:12?hush@h1/v,S://u:hush@h2/v", None),
        ("S://u:12,S://hush@h1/v", None),
        ("S://u:hush@h1/v,S://u:hush@h2/hush", None),
        ("S://u:hush@h1:5672/v,h2:5672/v", None),
        ("S://u:hush@h1:5672;h2:5672/v", None),
        ("S://u:hush@h1:5672,,h2:5672/v", None),
    ],
)
def test_a_list_of_urls_is_answered_with_a_list_of_hosts(
    check: Callable[[str], str], name: str, scheme: str, url: str, corrected: str | None
) -> None:
    """Celery's lists of URLs in AMQP_URL were answered with advice on special characters of the password."""
    example = {
        "AMQP_URL": "amqp://user:password@host1:5672,host2:5672/vhost",
        "DATABASE_URL": "postgresql://user:password@host1:5432,host2:5432/database",
    }
    with pytest.raises(CommandError) as error:
        check(url.replace("S:", f"{scheme}:"))
    assert str(error.value) == (
        f"{name} names several servers: write scheme, user and password once, and the hosts with commas between them, "
        f"as in {example[name] if corrected is None else corrected.replace('S:', f'{scheme}:')}"
    )


@pytest.mark.parametrize(("check", "name", "scheme"), CHECKS)
def test_a_list_of_hosts_is_read_with_blanks_in_it(check: Callable[[str], str], name: str, scheme: str) -> None:
    """The driver looked for a host whose name begins with a blank."""
    assert check(f"{scheme}://u:a,b;c@h1:1, h2:2 ,[::3]:3/{name}") == f"{scheme}://u:a,b;c@h1:1,h2:2,[::3]:3/{name}"


@pytest.mark.parametrize("piece", [",", ", ", "u:@,", ",u:", "@", ";a://", ", amqp://u:p@h", "/,h:1", "[", " '"])
def test_urls_of_servers_are_read_in_linear_time(piece: str) -> None:
    """An environment may hold anything."""

    def read(url: str) -> None:
        with suppress(CommandError):
            check_amqp_url(url)

    linear(read, lambda size: "amqp://u:p@h" + piece * (size // len(piece)), 50_000)


@pytest.mark.parametrize(
    "url",
    ["http://u:p@a:1,http://u:hush@b:1", "http://u:p@a;http://u:hush@b", "http://a,http://u:hush@b", "http://a,b"],
)
def test_the_management_api_has_one_url(url: str) -> None:
    """A second URL, with its password, was taken for a path that errors show."""
    with pytest.raises(ManagementError, match="write http://user:password@host:15672") as error:
        Management(url)
    assert "hush" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("connection was closed in the middle of operation: query_wait_timeout", "default_pool_size of PgBouncer"),
        ("MaxClientsInSessionMode: max clients reached", "pool size of another pooler"),
        ("no more connections allowed (max_client_conn)", "raise max_client_conn"),
        ("client_idle_timeout", "client_idle_timeout = 0"),
        ("sorry, too many clients already", "max_connections of PostgreSQL"),
        ("remaining connection slots are reserved for roles with the SUPERUSER attribute", "max_connections of Post"),
        ('too many connections for role "x"', "raise this limit"),
        ("no such database: x", "section [databases]"),
    ],
)
def test_errors_of_poolers_name_the_setting(text: str, setting: str) -> None:
    """`up` and workers showed "ConnectionDoesNotExistError 08003: … query_wait_timeout" of too small a pool."""
    error = asyncpg.ConnectionDoesNotExistError(text)
    for line in (database.explain(error), str(explain(error))):
        assert f"{text}: " in line
        assert setting in line
    assert database.explain(asyncpg.PostgresError("broken")) == "PostgresError: broken"


@pytest.mark.skipif(test_poolers.PROGRAM is None, reason="PgBouncer is not installed")
async def test_a_pool_that_is_too_small_is_named(pgbouncer: test_poolers.Start, database_url: str) -> None:
    """The same with a pooler whose only server connection is another client's."""
    url = await pgbouncer(database_url, "session", "default_pool_size = 1\nquery_wait_timeout = 1")
    other = await asyncpg.connect(url, statement_cache_size=0)
    try:
        with pytest.raises(database.UNAVAILABLE_ERRORS) as error:
            await database.Database(url, size=1).pool()
        for line in (database.explain(error.value), str(explain(error.value))):
            assert "query_wait_timeout" in line
            assert "default_pool_size" in line
    finally:
        await other.close()


@pytest.mark.parametrize("separator", [";", ",", "\t", "|"])
@pytest.mark.parametrize(
    ("content", "line"),
    [
        ('"ART-1;Apples"\n"ART-2;Pears"\n', 1),
        ('\n"ART-1;Apples"\r\n"";\r\n"ART-2;Pears, green"\r\n', 2),
        ('"ART-1;""Apples"""\n"ART-2;Pears"\n', 1),
        ('"ART-1;Apples";\n"ART-2;Pears";\n', 1),
        ('"article;name"\n"ART-1;Apples"\n', 1),
        ('"article;name"\nART-1;Apples\nART-2;Pears\n', 1),
        ('article;name\n"ART-1;Apples"\n"ART-2;Pears"\n', 2),
        ('article;name\nART-1;Apples\n"ART-2;Pears"\n', 3),
        ('sep=;\n"ART-1;Apples"\n"ART-2;Pears"\n', 2),
    ],
)
@pytest.mark.parametrize("setting", ["articles", "customers"])
def test_lines_in_quotes_as_a_whole_are_refused(
    tmp_path: Path, content: str, line: int, separator: str, setting: str
) -> None:
    """A spreadsheet of another locale quotes whole lines: each became one number, and every order got 422."""
    content = content.replace(";", separator).replace("article", setting.removesuffix("s"))
    with pytest.raises(ConfigError, match=rf"{setting}: .*list\.csv: line {line} is one cell in quotes that holds"):
        listed(tmp_path, content.encode(), setting)


@pytest.mark.parametrize(
    ("content", "numbers"),
    [
        ('article\n"ART;1"\n"ART;2"\n', ["ART;1", "ART;2"]),
        ('"Article"\n"ART,1"\n"ART,2"\n', ["ART,1", "ART,2"]),
        ('"ART-1"\n"ART;2"\n', ["ART-1", "ART;2"]),
        ('article;name\n"ART;1";x\n"ART;2";y\n', ["ART;1", "ART;2"]),
        ('"article";"name"\n"ART-1";"one; two"\n', ["ART-1"]),
        ('"ART;1"\n"ART,2"\n', ["ART;1", "ART,2"]),
    ],
)
def test_single_numbers_in_quotes_may_hold_separators(tmp_path: Path, content: str, numbers: list[str]) -> None:
    """A header that is alone in its line says that there is one column."""
    assert listed(tmp_path, content.encode()) == numbers


@pytest.mark.parametrize(
    "quoted", ['"NL\t3511\t\t\t\t\t\t\t\t50.85\t5.7\t6"', '"NL"\t"3511"\t\t\t\t\t\t\t\t"50.85"\t"5.7"\t6']
)
def test_postal_codes_in_quotes_name_the_line(tmp_path: Path, quoted: str) -> None:
    """GeoNames' files have no quotes; a spreadsheet that saves them adds some."""
    (tmp_path / "NL.txt").write_text(f"{quoted}\n")
    with pytest.raises(geonames.PostalCodesError, match=r"NL\.txt, line 1: not a line of a GeoNames"):
        list(geonames.rows(tmp_path / "NL.txt"))


MALFORMED = [
    (b'{"id": NaN}', "NaN is not JSON: write null, or leave the field out (byte 7)"),
    (b'{"a": {"b": [1, -Infinity]}}', "-Infinity is not JSON: write null, or leave the field out (byte 17)"),
    (b'{"a":Infinity}', "Infinity is not JSON: write null, or leave the field out (byte 5)"),
    (b'{"a": undefined}', "undefined is not JSON: write null, or leave the field out (byte 6)"),
    (b'{"a": None}', "None is not JSON: write null (byte 6)"),
    (b'{"a": [True]}', "True is not JSON: write true (byte 7)"),
    (b"{'a': 1}", "single quotes are not JSON: write double quotes (byte 1)"),
    (b'{"a": 1 // x\n}', "comments are not JSON: leave them out (byte 8)"),
    (b'{"a": "x\ny"}', "a line break within a text is not JSON: write \\n (byte 8)"),
    (b'{"a": "x\ty"}', "a tab within a text is not JSON: write \\t (byte 8)"),
    ('{"a": “x”}'.encode(), "typographic quotes are not JSON: write straight double quotes (byte 6)"),
    (b"<order/>", "it looks like XML or HTML (byte 0)"),
    (
        '\ufeff{"a": "\u00e9", "b": NaN}'.encode("utf-16"),
        "NaN is not JSON: write null, or leave the field out (byte 17)",
    ),
    (b'{"a": "NaN", "b": 1,}', "JSON is malformed: trailing comma in object (byte 20)"),
    (b'{"a": Nantes}', "JSON is malformed: invalid character (byte 6)"),
]


class Anything(msgspec.Struct):
    """A document of which nothing is needed."""


@pytest.mark.parametrize(("raw", "reason"), MALFORMED)
def test_what_is_not_json_is_named(raw: bytes, reason: str) -> None:
    """A body with Python's NaN was "invalid character (byte 166)" in quarantine and in the answer to Apicbase."""
    with pytest.raises(UnreadableError) as error:
        lenient.decoder(Anything)(raw)
    assert str(error.value) == f"not JSON: {reason}"
    text, _ = encodings.by_mark(raw)
    with pytest.raises(canonical.NotJSONError) as malformed:
        canonical.form(text)
    assert str(malformed.value) == reason
    with pytest.raises(msgspec.DecodeError) as failure:
        msgspec.json.decode(text)
    assert errors.unreadable(failure.value, text).detail == f"The body is not JSON: {reason}"


@pytest.mark.parametrize(
    "raw", [b'{"a": ' + b"N" * 200, b'{"a": "' + b"NaN " * 50 + b"\\x", b"'" * 200, b'{"secret": hush}']
)
def test_nothing_of_a_document_is_shown(raw: bytes) -> None:
    """A reason holds only words that are in no document, and is as short as before."""
    with pytest.raises(UnreadableError) as error:
        lenient.decoder(Anything)(raw)
    assert len(str(error.value)) < 100
    assert "hush" not in str(error.value)


def test_so_is_it_in_the_verdict_and_the_reason_for_quarantine() -> None:
    """Apicbase shows the 400 to its customer at once; a uStore order is in quarantine."""
    order = registry.example("apicbase", "purchase_order").replace(
        b'"quantity_ordered": 12', b'"quantity_ordered": NaN', 1
    )
    answer = apicbase.validate(order, Account(secrets=["hush"]))
    assert answer.status == 400
    assert b"not JSON: NaN is not JSON: write null, or leave the field out (byte" in answer.body
    platform = registry.platforms()["ustore"]
    with pytest.raises(UnreadableError, match="not JSON: NaN is not JSON: write null"):
        documents.describe(platform, "manufacturer_allocation", b'{"Order": {"@OrderId": NaN}}', None)


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("DE", "Bundesrepublik Deutschland|BUNDESREPUBLIK DEUTSCHLAND |BRD|The Federal Republic of Germany"),
        ("AT", "Republik Österreich|Republic of Austria|the Republic of Austria"),
        ("CH", "Schweizerische Eidgenossenschaft|Confédération suisse|Confederazione Svizzera|Swiss Confederation"),
        ("FR", "République française|Republique Francaise|French Republic"),
        ("NL", "Koninkrijk der Nederlanden|Kingdom of the Netherlands|The Netherlands"),
        ("BE", "Koninkrijk België|Royaume de Belgique|Königreich Belgien|Kingdom of Belgium"),
        ("IT", "Repubblica Italiana|Italian Republic"),
        ("ES", "Reino de España|Kingdom of Spain"),
        ("PT", "República Portuguesa|Portuguese Republic"),
        ("DK", "Kongeriget Danmark|Danmark|Kingdom of Denmark"),
        ("SE", "Konungariket Sverige|Sverige"),
        ("NO", "Kongeriket Norge|Norge|Noreg"),
        ("FI", "Suomen tasavalta|Suomi|Republiken Finland"),
        ("PL", "Rzeczpospolita Polska|Polska|Republic of Poland"),
        ("CZ", "Česká republika|Ceska republika|Česko|Czech Republic"),
        ("SK", "Slovenská republika|Slovensko|Slovak Republic"),
        ("HU", "Magyarország"),
        ("GR", "Ελληνική Δημοκρατία|Ελλάδα|Hellenic Republic"),
        ("IE", "Poblacht na hÉireann|Republic of Ireland"),
        ("GB", "United Kingdom of Great Britain and Northern Ireland"),
        ("US", "United States of America|Vereinigte Staaten von Amerika|Estados Unidos de América"),
        ("MX", "Estados Unidos Mexicanos"),
        ("BR", "República Federativa do Brasil"),
        ("AU", "Commonwealth of Australia|The Commonwealth of Australia"),
        ("CD", "Democratic Republic of the Congo|DR Congo"),
        ("CG", "Republic of the Congo|République du Congo"),
        ("TR", "Republic of Turkey|Türkiye Cumhuriyeti"),
        ("JP", "日本|日本国"),
        ("KR", "대한민국|Republic of Korea"),
        ("UA", "Україна"),
        ("RU", "Российская Федерация|Россия|Russian Federation"),
        (None, "Republik|Republic|Kingdom of|The|the |Königreich|Republic of"),
    ],
)
def test_countries_have_long_names_in_their_own_languages(code: str | None, names: str) -> None:
    """`Bundesrepublik Deutschland` was unknown, and `Federal Republic of Germany` was not."""
    assert {name: addresses.country(name) for name in names.split("|")} == dict.fromkeys(names.split("|"), code)


def test_no_name_of_a_country_means_another_one() -> None:
    """The file adds names, and changes none that ISO or CLDR has in a language that we answer in."""
    with addresses._NAMES.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.reader(lines))[1:]
    assert len({addresses.fold(name) for _, name in rows}) == len(rows)
    assert [(code, name) for code, name in rows if addresses.country(name) != code] == []
