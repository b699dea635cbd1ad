"""Siblings of reported inputs: quotes in lists, and files that commands read."""

import io
import json
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from deploy import config, state
from deploy.cli import main, servers
from deploy.config import ConfigError
from storage.vault import Vault
from telemetry import logs
from tests.reports.test_csv_files import listed
from tests.reports.test_linear import linear
from workers.route.ustore import distance, geonames


@pytest.mark.parametrize(
    ("content", "line", "problem"),
    [
        ('article;name\nART-1;"3/4 inch\nART-2;5 pipe\nART-3;"x"\nART-4;y\n', 2, "text follows the closing quote"),
        ('article;name\nART-1;a\nART-2;"3/4 inch\nART-3;b\n', 3, "has no closing quote"),
        ('"ART-1\nART-2\n', 1, "has no closing quote"),
        ('ART-0\n"ART-1\nART-2"\nART-3\n', 2, "holds a line break"),
        ('"article\nnumber";name\nART-1;a\n', 1, "holds a line break"),
        ('article;name\n"ART-1"x;a\n', 2, "text follows the closing quote"),
        ('sep=;\narticle;name\nART-1;"x\n', 3, "has no closing quote"),
    ],
)
def test_a_quote_that_is_not_closed_is_refused(tmp_path: Path, content: str, line: int, problem: str) -> None:
    """A list with a quote too many lost the rows after it, or became a single article with a line break."""
    with pytest.raises(ConfigError, match=rf"list\.csv: line {line}.*{problem}"):
        listed(tmp_path, content.encode())


@pytest.mark.parametrize(
    "content",
    [
        'article;name\nART-1;3/4" inch\nART-2;5" pipe\n',
        'article;name\n"ART-1" ;"two\nlines"\n"ART-2"\t;"a ""quoted"" word" \n',
        'article;name\nART-1;"two\r\nlines; and a semicolon"\nART-2;\n',
        '"ART-1\n"\n"\nART-2"\n',
    ],
)
def test_quotes_that_are_closed_are_read(tmp_path: Path, content: str) -> None:
    """Blanks after a closing quote, and quotes within an unquoted cell, harm nothing."""
    assert listed(tmp_path, content.encode()) == ["ART-1", "ART-2"]


@pytest.mark.parametrize("piece", ['"a";', '"a ', '""" ;', '" ;\n', '"";"', 'x;"\n'])
def test_quotes_are_read_in_linear_time(tmp_path: Path, piece: str) -> None:
    """A list is read before a process starts, however its quotes are arranged."""

    def read(content: bytes) -> None:
        with suppress(ConfigError):
            listed(tmp_path, content)

    linear(read, lambda size: b"article;name\n" + piece.encode() * (size // len(piece)), 50_000)


CONFIG = """
[accounts.ustore.nl]
secrets = ["us-secret"]
[[accounts.ustore.nl.manufacturers]]
id = "2"
name = "Utrecht"
country = "NL"
postal_code = "3511"
[[accounts.ustore.nl.rules]]
nearest = ["2"]
"""
ORDER = Path(distance.__file__).parents[3] / "schemas/platforms/ustore/examples/manufacturer_allocation_one_item.json"


def row(code: str, latitude: str = "50.85", country: str = "NL", name: str = "Fryslân") -> str:
    return "\t".join((country, code, name, "", "", "", "", "", "", latitude, "5.7", "6")) + "\n"


CODES = row("3511") + row("1015")


def zipped(name: str, content: str = CODES) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("readme.txt", "not codes")
        archive.writestr(name, content)
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder that CROSSDOCK_POSTAL_CODES names, with nothing in it; the configuration has a rule that needs it."""
    (tmp_path / "crossdock.toml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(geonames.FOLDER_VARIABLE, str(tmp_path / "codes"))
    monkeypatch.setenv("AMQP_URL", "amqp://127.0.0.1:1")
    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1:1/x")
    distance.gazetteer.cache_clear()
    (tmp_path / "codes").mkdir()
    yield tmp_path / "codes"
    distance.gazetteer.cache_clear()


@pytest.mark.parametrize(
    ("file", "content", "problem"),
    [
        (None, b"", "can't be read: No such file or directory"),
        ("README.txt", b"x", "no postal code files such as US.txt"),
        ("allCountries.txt", CODES.encode(), "split it by country"),
        ("allCountries.zip", b"x", "split it by country"),
        ("NL.txt", CODES.encode("latin-1"), "NL.txt, line 1: not UTF-8"),
        ("NL.txt", b"x" * 9000 + b"\n" + CODES.encode("latin-1"), "NL.txt, line 1: not a line of a GeoNames"),
        ("NL.txt", (row("1", name="x") * 400 + row("2")).encode("latin-1"), "NL.txt, line 401: not UTF-8"),
        ("NL.txt", row("1", name="x").encode("utf-16-le"), "NL.txt, line 1: not a line"),
        ("NL.txt", CODES.replace("\t", ";").encode(), "NL.txt, line 1: not a line"),
        ("NL.txt", (CODES + row("9", "")).encode(), "NL.txt, line 3: not a line"),
        ("NL.txt", (CODES + row("9", "nan")).encode(), "NL.txt, line 3: not a line"),
        ("NL.txt", (CODES + row("9", "91")).encode(), "NL.txt, line 3: not a line"),
        ("NL.zip", b"PK", "NL.zip is not a readable ZIP archive"),
        ("NL.zip", zipped("NL.txt").replace(b"5.7", b"5.8"), "NL.zip is not a readable ZIP archive"),
        ("NL.zip", zipped("other.dat"), "NL.zip holds no postal code file"),
        ("NL.zip", zipped("NL.txt", CODES + "x"), "NL.zip, NL.txt, line 3: not a line"),
    ],
)
@pytest.mark.parametrize(
    "command", [["check", "--json"], ["route", "explain", str(ORDER), "--account", "nl"], ["worker", "route"]]
)
def test_unreadable_postal_codes_are_one_line(
    folder: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: list[str],
    file: str | None,
    content: bytes,
    problem: str,
) -> None:
    """A missing folder, an archive, or a file in Latin-1 or UTF-16 ended three commands with a traceback."""
    monkeypatch.setattr(logs, "setup", lambda *_: None)
    if file is None:
        folder.rmdir()
    else:
        (folder / file).write_bytes(content)
    assert main.main(command) == 1
    out, err = capfd.readouterr()
    if command[0] == "check":
        (text,) = next(finding["problems"] for finding in json.loads(out) if finding["what"] == "postal codes")
    else:
        (text,) = err.splitlines()
    assert geonames.FOLDER_VARIABLE in text
    assert problem in text
    assert "Traceback" not in out + err


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("NL.txt", CODES.encode()),
        ("nl.TXT", CODES.encode("utf-8-sig")),
        ("NL.txt", CODES.encode("utf-16")),
        ("NL.txt", CODES.replace("NL", "NL ").replace("1015", " 1015 ").encode()),
        ("NL.txt", CODES.replace("\n", "\r").encode()),
        ("NL_full.csv", CODES.encode()),
        ("NL.zip", zipped("NL.txt")),
        ("NL_full.csv.zip", zipped("NL_full.csv")),
    ],
)
def test_postal_codes_are_read_as_they_are_downloaded(folder: Path, file: str, content: bytes) -> None:
    """Archives, the file of all countries and blanks around a code were ignored, or ended the command."""
    (folder / file).write_bytes(content)
    place = distance.gazetteer().locate("NL", (), "1015")
    assert place is not None
    assert (place.precision, place.latitude) == ("code", 50.85)


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        ("sslmode=verify-full&sslrootcert=none.pem", "sslrootcert, none.pem: No such file or directory"),
        ("sslmode=require&sslcert=.", "sslcert, .: Is a directory"),
        ("sslmode=verify-full&sslrootcert=noise.pem", "TLS failed, no certificate or crl found"),
    ],
)
def test_a_tls_file_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], parameters: str, problem: str
) -> None:
    """Such a file showed as "Unknown error 136", or as a server that does not exist."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "noise.pem").write_bytes(b"\xff\x00")
    monkeypatch.setenv("DATABASE_URL", f"postgresql://user@127.0.0.1:1/x?{parameters}")
    assert main.main(["migrate"]) == 1
    (text,) = capfd.readouterr().err.splitlines()
    assert problem in text


def test_a_deeply_nested_configuration_is_refused(tmp_path: Path) -> None:
    """Like any other file that a command reads, it is refused in one line."""
    file = tmp_path / "crossdock.toml"
    file.write_text(f"a = {'[' * 100_000}")
    with pytest.raises(ConfigError, match="nested too deeply"):
        config.load(file)


def test_an_encryption_key_that_is_not_text_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key file of the state folder, damaged, is a key of the wrong form."""
    monkeypatch.delenv("CROSSDOCK_ENCRYPTION_KEY", raising=False)
    (tmp_path / state.KEY_FILE).write_bytes(b"\xff\xfe\x00")
    key = servers.encryption_key(tmp_path)
    assert key is not None
    with pytest.raises(ValueError, match="openssl rand -base64 32"):
        Vault.from_text(key)
