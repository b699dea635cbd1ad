"""Siblings of reported inputs: quotes in lists, and files that commands read."""

from contextlib import suppress
from pathlib import Path

import pytest

from deploy.config import ConfigError
from tests.reports.test_csv_files import listed
from tests.reports.test_linear import linear


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
