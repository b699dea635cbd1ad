"""Lists of articles and customers as spreadsheets write them, and secrets as editors and shells write them."""

import codecs
from pathlib import Path

import pytest

from deploy import config
from deploy.cli import check_local
from deploy.config import ConfigError
from schemas.config import Config
from workers.route.ustore import distance, geonames


def listed(folder: Path, content: bytes, setting: str = "articles") -> list[str]:
    (folder / "list.csv").write_bytes(content)
    raw = {"accounts": {"apicbase": {"acme": {"secrets": ["x"], setting: {"file": "list.csv"}}}}}
    finding: list[str] = getattr(config.parse(raw, folder).accounts["apicbase"]["acme"], setting)
    return finding


@pytest.mark.parametrize(
    "content",
    [
        "article;name\nART-1;Cream, 35 %\nART-2;Tomatoes\n",
        "article,name\nART-1,Screws; long\nART-2,Nails\n",
        "article\tname\r\nART-1\tone\r\nART-2\ttwo\r\n",
        '"article";"name"\n"ART-1";"one; two"\n"ART-2";"x"\n',
        "sep=;\nArticle;Name\n ART-1 ;one\nART-2;two\n",
        "Articles|Name\nART-1|one\n\nART-2|two\n",
        "ART-1\nART-2\n",
        "ART-1;one;1,50\nART-2;two;2,50\n",
        "article;name;price\nART-1;a;1,5\nART-2;b\n;;\n",
        "article,name\rART-1,one\rART-2,two\r",
        "article\nART-1\nART-2",
    ],
)
@pytest.mark.parametrize(
    "write", [str.encode, lambda text: text.encode("utf-8-sig"), lambda text: text.encode("utf-16")]
)
@pytest.mark.parametrize("setting", ["articles", "customers"])
def test_separators_quotes_and_encodings_of_spreadsheets(
    tmp_path: Path, content: str, write: "type[str]", setting: str
) -> None:
    """ng-csv#28: European spreadsheets separate with semicolons."""
    if setting == "customers":
        content = content.replace("article", "customer").replace("Article", "Customer")
    assert listed(tmp_path, write(content), setting) == ["ART-1", "ART-2"]  # type: ignore[arg-type]


def test_a_value_that_holds_the_other_separator_is_kept(tmp_path: Path) -> None:
    """ng-csv#28: the separator is what the header row has."""
    assert listed(tmp_path, b'article\n"A;1"\nB\n') == ["A;1", "B"]
    assert listed(tmp_path, b'article;name\n"A;1";x\nB,2;y\n') == ["A;1", "B,2"]


def test_a_line_with_a_column_too_few_is_named(tmp_path: Path) -> None:
    """ng-csv#28: a line with another separator would be one long number that no order names."""
    with pytest.raises(ConfigError, match=r"line 3 has 1 of 2 columns, and ',' in its first"):
        listed(tmp_path, b"article;name\nART-1;Beans\nART-2,Rice\nART-3\n")
    assert listed(tmp_path, b'article;name\nART-1;Beans\n"ART-2,5"\nART-3\n') == ["ART-1", "ART-2,5", "ART-3"]


def test_check_reads_the_postal_code_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ng-csv#28: a file of another form, or with a column too few, is known before a shopper waits for it."""
    line = "US\t10001\tNew York\tNew York\tNY\tNew York\t061\t\t\t40.75\t-73.99\t4\n"
    monkeypatch.setenv(geonames.FOLDER_VARIABLE, str(tmp_path))
    for content, problem in (
        ("", "no postal code files"),
        (line.replace("\t-73.99\t4", ""), "US.txt, line 1"),
        (line, None),
    ):
        if content:
            (tmp_path / "US.txt").write_text(content)
        distance.gazetteer.cache_clear()
        (finding,) = check_local._rules(Config())
        assert [str(problem) in entry for entry in finding.problems] == ([True] if problem else [])
    distance.gazetteer.cache_clear()


def test_windows_1252_names_the_line(tmp_path: Path) -> None:
    """ng-csv#28 (sibling): a spreadsheet's own "CSV" is in the machine's code page."""
    with pytest.raises(ConfigError, match=r"articles: .*list\.csv: line 2 is not UTF-8.*save the file as UTF-8"):
        listed(tmp_path, "article;name\nCRÈME-1;x\n".encode("cp1252"))


def test_an_ambiguous_file_is_refused_with_the_line(tmp_path: Path) -> None:
    """ng-csv#28 (sibling): nothing is guessed silently."""
    with pytest.raises(ConfigError, match=r"line 1 can be read with ';' and with ','"):
        listed(tmp_path, b"A,1;B,2\nC,3;D,4\n")


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\n\n", ""])
@pytest.mark.parametrize("source", ["text", "env", "file"])
def test_a_secret_ends_before_its_newline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, source: str
) -> None:
    """derek#72, doco-cd#545, tuist#10484: a secret with a trailing newline refuses every signature."""
    monkeypatch.setenv("A_SECRET", "s3cret" + ending)
    (tmp_path / "secret").write_bytes(b"s3cret" + ending.encode())
    setting_value = {"text": "s3cret" + ending, "env": {"env": "A_SECRET"}, "file": {"file": "secret"}}[source]
    raw = {
        "api": {"operator_token": setting_value},
        "accounts": {
            "ustore": {"a": {"secrets": [setting_value]}},
            "channelape": {"a": {"keys": [{"name": "k", "secret": setting_value}]}},
            "ecomnow": {"a": {"authorizations": [setting_value]}},
            "apicbase": {"a": {"secrets": [setting_value], "poll": {"client_id": "i", "client_secret": setting_value}}},
        },
        "subscribers": {"boards": {"username": "b", "password": setting_value, "accounts": []}},
    }
    assert config.secrets_of(config.parse(raw, tmp_path)) == ["s3cret"]


def test_a_secret_of_nothing_but_newlines_is_refused_by_its_key(tmp_path: Path) -> None:
    """Reported as derek#72 (sibling)."""
    with pytest.raises(ConfigError, match=r"accounts\.ecomnow\.a\.authorizations"):
        config.parse({"accounts": {"ecomnow": {"a": {"authorizations": ["\n"]}}}}, tmp_path)


def test_check_names_secrets_with_blanks_and_newlines_without_showing_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """derek#72: `crossdock check` warns of blanks and newlines in any secret; a newline at the end is left out."""
    monkeypatch.setenv("NEWLINE", "hidden-1\n")
    monkeypatch.setenv("BLANK", "hidden-2 ")
    (tmp_path / "within").write_text("hidden-3\nhidden-4\n")
    (tmp_path / "crossdock.toml").write_text(
        '[api]\noperator_token = { env = "BLANK" }\n'
        '[accounts.ustore.shop]\nsecrets = ["hidden-0", { env = "NEWLINE" }, { file = "within" }]\n'
        '[accounts.channelape.a]\nkeys = [{ name = "k", secret = " hidden-5" }]\n'
        '[subscribers.boards]\nusername = "b"\naccounts = []\npassword = "hidden-6\\n"\n'
    )
    problems = config.secret_problems(tmp_path / "crossdock.toml")
    assert [problem.partition(":")[0] for problem in problems] == [
        "api.operator_token",
        "accounts.ustore.shop.secrets[2]",
        "accounts.channelape.a.keys[0].secret",
    ]
    assert not [problem for problem in problems if "hidden" in problem]


def test_a_configuration_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    """reports.md, row 35: Windows editors write one."""
    (tmp_path / "crossdock.toml").write_bytes(codecs.BOM_UTF8 + b'[log]\nlevel = "debug"\n')
    assert config.load(tmp_path / "crossdock.toml").log.level == "debug"
