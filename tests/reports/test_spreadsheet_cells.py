"""Cells of article and customer lists that a spreadsheet has guarded, or ruined."""

from pathlib import Path

import pytest

from deploy.config import ConfigError
from tests.reports.test_csv_files import listed


@pytest.mark.parametrize(
    ("cell", "meant"),
    [
        ('="ART-1"', "ART-1"),
        ('"=""ART-1"""', "ART-1"),
        ('="00123"', "00123"),
        ('= "00123"', "00123"),
        ('"=""4,5"""', "4,5"),
        ('"=""a """"big"""" one"""', 'a "big" one'),
        ("'00123", "00123"),
        ("'ART-1'", "ART-1"),
        ("'=ART", "=ART"),
        ("'#N/A", "#N/A"),
        ('="1E+05"', "1E+05"),
        ("\u200bART-1", "ART-1"),
        ("ART-1\ufeff ", "ART-1"),
        ("O'Neill", "O'Neill"),
        ("#1", "#1"),
        ("#A-1", "#A-1"),
        ("1E5", "1E5"),
        ("2E-10", "2E-10"),
        ("4006381333931", "4006381333931"),
        ("A=B", "A=B"),
        ("E+12", "E+12"),
    ],
)
@pytest.mark.parametrize("setting", ["articles", "customers"])
def test_a_guard_is_not_part_of_the_text(tmp_path: Path, cell: str, meant: str, setting: str) -> None:
    content = f"{setting};name\n{cell};one\nART-9;two\n"
    assert listed(tmp_path, content.encode(), setting) == [meant, "ART-9"]


@pytest.mark.parametrize(
    "cell",
    [
        *("#REF!", "#N/A", "#NAME?", "#VALUE!", "#DIV/0!", "#NUM!", "#NULL!", "#SPILL!", "#GETTING_DATA", "#n/a"),
        *("#NV", "#BEZUG!", "#WERT!", "#¡REF!", "#¿NOMBRE?", "#N/D", "#N/B", "#########", "Err:502"),
    ],
)
def test_an_error_value_is_refused_with_its_line(tmp_path: Path, cell: str) -> None:
    with pytest.raises(ConfigError) as error:
        listed(tmp_path, f"article;name\nART-1;one\n{cell};two\n".encode())
    assert "list.csv: line 3: " in str(error.value)
    assert f"{cell!r} is a spreadsheet's error value" in str(error.value)


@pytest.mark.parametrize("cell", ["4.00638E+12", "4,00638E+12", "4E+12", "4.00638e+12", "4.006E12", "1.5E-07"])
def test_a_number_in_e_notation_is_refused_with_its_line(tmp_path: Path, cell: str) -> None:
    with pytest.raises(ConfigError) as error:
        listed(tmp_path, f"article;name\nART-1;one\n{cell};two\n".encode())
    assert "list.csv: line 3: " in str(error.value)
    assert "format the column as text" in str(error.value)


@pytest.mark.parametrize("cell", ["=A1", "=SUM(A1:A2)", '="ART-1', '=HYPERLINK("x")', '="A"&"B"'])
def test_a_formula_is_refused_with_its_line(tmp_path: Path, cell: str) -> None:
    with pytest.raises(ConfigError, match=r"line 2: .* is a formula"):
        listed(tmp_path, f"article;name\n{cell};two\n".encode())


def test_the_line_is_that_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"line 5: '#REF!'"):
        listed(tmp_path, b'sep=;\narticle;name\n\n"ART-1";one\n#REF!;two\n')
    with pytest.raises(ConfigError, match=r"line 4: '#REF!'"):
        listed(tmp_path, b'article;name\nART-1;"one\nmore"\n#REF!;two\n')
