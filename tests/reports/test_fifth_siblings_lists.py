"""Siblings of reported inputs: lists in quotes, bodies that are nearly JSON, and names of countries."""

import csv
from pathlib import Path

import msgspec
import pytest

from deploy.config import ConfigError
from ingress.api import errors
from schemas import canonical, documents, encodings, lenient, registry
from schemas.platform import UnreadableError
from schemas.platforms.apicbase.config import Account
from tests.reports.test_csv_files import listed
from workers.route import apicbase
from workers.route.ustore import addresses, geonames


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
