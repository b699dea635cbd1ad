"""Lists with a title, with a header elsewhere, with separators named oddly, and with cells that are not numbers."""

from pathlib import Path

import pytest

from deploy.config import ConfigError
from tests.reports.test_csv_files import listed


@pytest.mark.parametrize("separator", [";", ",", "\t", "|"])
def test_a_line_with_one_cell_does_not_hide_the_separator(tmp_path: Path, separator: str) -> None:
    content = "ART-0\nART-1;Beans\nART-2;Rice\n".replace(";", separator)
    assert listed(tmp_path, content.encode()) == ["ART-0", "ART-1", "ART-2"]


@pytest.mark.parametrize("title", ["All articles\n", "All articles;\n", "All articles;;\n\n"])
def test_a_title_above_the_header_is_refused(tmp_path: Path, title: str) -> None:
    line = title.count("\n") + 1
    with pytest.raises(ConfigError, match=rf"line {line}: 'article' is a header that is not in the first line"):
        listed(tmp_path, f"{title}article;name\nART-1;Beans\n".encode())


@pytest.mark.parametrize("title", ["", "All articles\n"])
def test_a_header_of_another_column_is_refused(tmp_path: Path, title: str) -> None:
    line = title.count("\n") + 1
    with pytest.raises(ConfigError, match=rf"line {line}: 'Article' is column 2, and only the first column is read"):
        listed(tmp_path, f"{title}no;Article;name\n1;ART-1;Beans\n".encode())
    assert listed(tmp_path, b"ART-1;Beans\nART-2;article\n") == ["ART-1", "ART-2"]


def test_a_header_with_one_column_has_rows_with_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="line 3 has 2 columns, and the header has 1"):
        listed(tmp_path, b"article\nART-1\nART-2;5\n")
    assert listed(tmp_path, b"article\nART-1;;\nART-2;;\n") == ["ART-1", "ART-2"]


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "SEP=; ", "sep=;;"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_a_separator_named_in_the_first_line_is_used(tmp_path: Path, first: str, ending: str) -> None:
    content = ending.join([first, "article;name", "ART-1;one, two", "ART-2;x", ""])
    assert listed(tmp_path, content.encode()) == ["ART-1", "ART-2"]
    assert listed(tmp_path, content.replace(";", "\t").encode()) == ["ART-1", "ART-2"]


def test_a_blank_between_separator_and_quote_is_ignored(tmp_path: Path) -> None:
    assert listed(tmp_path, b'article, name\nART-1, "one, two"\n "ART-2", x\n') == ["ART-1", "ART-2"]
    assert listed(tmp_path, b'name;article\n"A";x\n'.replace(b"article", b"price")) == ["name", "A"]


def test_an_integer_as_a_decimal_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"line 3: '1001\.0' is a whole number"):
        listed(tmp_path, b"article,name\nART-1,a\n1001.0,b\n")
    assert listed(tmp_path, b"article,name\n'1001.0,b\n1001.5,c\n") == ["1001.0", "1001.5"]


@pytest.mark.parametrize("cell", ["A|1", 'A"1', "<td>A-1</td>", "<!DOCTYPE html>"])
def test_a_cell_that_is_not_a_number_is_refused(tmp_path: Path, cell: str) -> None:
    with pytest.raises(ConfigError, match=r"list\.csv: line 3: .* holds "):
        listed(tmp_path, f"article;name\nART-1;a\n{cell};b\n".encode())
    quoted = cell.replace('"', '""')
    assert listed(tmp_path, f'article;name\n"{quoted}";b\n'.encode()) == [cell]


def test_two_separators_below_a_single_cell_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="line 2 can be read with"):
        listed(tmp_path, b"article\nA;1\nB,2\n")
