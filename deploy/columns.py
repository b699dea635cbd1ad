"""Lists of article and customer numbers from CSV files, as spreadsheets write them.

European spreadsheets separate with semicolons, others with commas or tabs; some write a byte order mark, and some
"Unicode text" in UTF-16. Only the first column is read, without what guards a text from being taken for a number:
`="00123"` and `'00123`. What a spreadsheet has ruined is refused.
"""

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from schemas import encodings, invisible

SEPARATORS = ";,\t|"
"""Possible separators, the likeliest first."""

_NO_DECIMAL_COMMA = re.compile(r"(?<!\d),|,(?!\d)")
_GUARD = re.compile(r'=\s*"(?P<text>(?:[^"]|"")*)"')
_ERROR_VALUE = re.compile(r"#[¡¿]?[^\W\d_][\w/]*[!?]|#N/?[ABDV]|##+|#GETTING_DATA|Err:\d{3}", re.IGNORECASE)
"""Of spreadsheets in several languages: `#REF!`, `#BEZUG!`, `#¿NOMBRE?`, `#N/A`, `#NV`."""
_E_NOTATION = re.compile(r"[+-]?\d(?:[.,]\d+E[+-]?|E\+)\d+", re.IGNORECASE)
"""Not `2E-10` and `1E5`, which may be article numbers."""
_FLOAT = re.compile(r"[0-9]+\.0")
"""An integer as pandas writes it in a column with empty cells."""
_STRAY = re.compile(r"[;\t|\"]|<(?=[A-Za-z!?/])")
"""Text that no number contains outside quotes: separators, quotes, and tags of a page that was saved as a list."""
_NAMED_SEPARATOR = re.compile(r"[ \t]*\"?sep=(?P<separator>[^\"\r\n])\"?[;,| \t]*(?:\r\n|\r|\n|\Z)", re.IGNORECASE)


_LINE_BREAK = re.compile(r"[\n\v\f\r\x85\u2028\u2029]")


class _Row(NamedTuple):
    """A row of a list."""

    line: int
    """Number of the line that it begins on."""
    cells: list[str]
    is_quoted: bool
    """Whether its first cell is in quotes."""


class ColumnError(ValueError):
    """A file is not a list; the text names the line and says what to do."""


def read(file: Path, header: str) -> list[str]:
    """Return the first column of `file` without blanks at the ends, empty cells and the header row.

    A first row that begins with `header` (`article`, or `articles`) is the header. Raises ColumnError and OSError.
    """
    text = _text(file.read_bytes())
    named = _NAMED_SEPARATOR.match(text)  # Excel names the separator in the first line
    if named is None:
        separator, skipped = _separator(text), 0
    else:
        separator, skipped, text = named["separator"], 1, text[named.end() :]
    lines = list(io.StringIO(text, newline=""))
    rows = [
        _Row(number + skipped, cells, invisible.trimmed(lines[number - 1])[:1] == '"')
        for number, cells in _strict_rows(text, separator, skipped)
        if cells
    ]
    if not rows:
        return []
    headers = (header, f"{header}s")
    for row in rows:
        if _LINE_BREAK.search(invisible.trimmed(row.cells[0])):
            raise ColumnError(
                f"line {row.line}: the first cell holds a line break: close its quotes, or put each number on a line "
                "of its own"
            )
    _refuse_whole_lines(rows, headers)
    _refuse_wrong_headers(rows, headers)
    width = len(rows[0].cells) if len(rows[0].cells) > 1 else max(len(row.cells) for row in rows)
    numbers = [number for row in rows if (number := _number(row, width, separator))]
    return numbers[1:] if numbers and numbers[0].lower() in headers else numbers


def _number(row: _Row, width: int, separator: str) -> str:
    """Return what the first cell of a row of a list with `width` columns means. Raises ColumnError."""
    written = row.cells[0]
    if len(row.cells) < width and row.is_quoted and separator in written:
        raise ColumnError(
            f"line {row.line} is one cell in quotes that holds {separator!r}, which separates the others: remove the "
            "quotes around the whole line, or add the columns that it lacks"
        )
    other = next((separator for separator in SEPARATORS if separator in written), None)
    if len(row.cells) < width and other is not None and not row.is_quoted:
        raise ColumnError(
            f"line {row.line} has {len(row.cells)} of {width} columns, and {other!r} in its first: separate all "
            "lines alike, or put a number that holds it into quotes"
        )
    return _cell(written, row.line, row.is_quoted)


def _cell(written: str, line: int, is_quoted: bool) -> str:
    """Return the text that a cell means. Raises ColumnError for a formula, an error value or a rounded number."""
    cell = invisible.trimmed(written)
    if guarded := _GUARD.fullmatch(cell):
        return invisible.trimmed(guarded["text"].replace('""', '"'))
    if cell.startswith("'"):
        return invisible.trimmed(cell[1:].removesuffix("'"))
    if cell.startswith("="):
        raise ColumnError(f"line {line}: {cell!r} is a formula: put its value there, and save the file again")
    if _ERROR_VALUE.fullmatch(cell):
        raise ColumnError(f"line {line}: {cell!r} is a spreadsheet's error value: correct the cell, or remove the line")
    if _E_NOTATION.fullmatch(cell):
        raise ColumnError(
            f"line {line}: {cell!r} is a number that a spreadsheet has rounded: format the column as text, enter the "
            f"whole number, and save the file again; if it is meant as it is, write it as '{cell}"
        )
    if _FLOAT.fullmatch(cell):
        raise ColumnError(
            f"line {line}: {cell!r} is a whole number that a program has written as a decimal one: save the column as "
            f"text; if it is meant as it is, write it as '{cell}"
        )
    if not is_quoted and (stray := _STRAY.search(cell)):
        raise ColumnError(
            f"line {line}: {cell!r} holds {stray[0]!r}: save the file as CSV with one separator, or put a number "
            "that holds it into quotes"
        )
    return cell


def _refuse_whole_lines(rows: list[_Row], headers: tuple[str, str]) -> None:
    """Raise ColumnError if all lines are in quotes as a whole, as a spreadsheet writes lines that it did not separate.

    A first line that is the header alone says that there is only one column, whose numbers may hold separators.
    """

    def names(cell: str) -> bool:
        return invisible.trimmed(cell).lower() in headers

    numbered = [row for row in rows if any(map(invisible.trimmed, row.cells))]
    if not numbered or (names(numbered[0].cells[0]) and not any(map(invisible.trimmed, numbered[0].cells[1:]))):
        return
    first = numbered[0]
    lines = numbered[1:] if names(first.cells[0]) else numbered
    common = set(SEPARATORS) if lines else set()
    for row in lines:
        is_whole = row.is_quoted and not any(map(invisible.trimmed, row.cells[1:]))
        common &= set(row.cells[0]) if is_whole else set()
        if not common:
            break
    separator = next((separator for separator in SEPARATORS if separator in common), None)
    if separator is None and first.is_quoted:  # a header that was not separated, before lines that were
        cell = first.cells[0]
        separator = next((each for each in SEPARATORS if each in cell and names(cell.partition(each)[0])), None)
        lines = [first]
    if separator is not None:
        raise ColumnError(
            f"line {lines[0].line} is one cell in quotes that holds {separator!r}: remove the quotes around the whole "
            f"line, in all lines that have them; if the numbers themselves hold {separator!r}, write a first line with "
            f"nothing but {headers[0]}"
        )


def _refuse_wrong_headers(rows: list[_Row], headers: tuple[str, str]) -> None:
    """Raise ColumnError for a header that is not in the first column of the first row, or that names too few columns.

    Reading another column would be a guess, because the other cells of a header may be anything.
    """

    def names(cell: str) -> bool:
        return invisible.trimmed(cell).lower() in headers

    first = rows[0]
    if names(first.cells[0]):
        wide = next((row for row in rows if len(first.cells) == 1 and any(map(str.strip, row.cells[1:]))), None)
        if wide is not None:
            raise ColumnError(
                f"line {wide.line} has {len(wide.cells)} columns, and the header has 1: name all columns in the "
                "header, or put a number that holds a separator into quotes"
            )
        return
    table = next((row for row in rows if any(map(str.strip, row.cells[1:]))), first)
    for row in (first, table):
        column = next((column for column, cell in enumerate(row.cells, 1) if column > 1 and names(cell)), None)
        if column is not None:
            raise ColumnError(
                f"line {row.line}: {row.cells[column - 1]!r} is column {column}, and only the first column is read: "
                "move it to the front, or leave only that column in the file"
            )
    numbered = [row for row in rows if invisible.trimmed(row.cells[0])]
    late = next((row for row in numbered[1:] if names(row.cells[0])), None)
    if late is not None:
        raise ColumnError(
            f"line {late.line}: {late.cells[0]!r} is a header that is not in the first line: remove the lines above it"
        )


def _text(raw: bytes) -> str:
    text, _ = encodings.by_mark(raw)
    for number, line in enumerate(text.split(b"\n"), 1):
        try:
            line.decode()
        except UnicodeDecodeError as error:
            raise ColumnError(
                f"line {number} is not UTF-8, at byte {error.start + 1}: save the file as UTF-8 "
                '(Excel: "CSV UTF-8"); it is probably in Windows-1252'
            ) from None
    return text.decode()


def _separator(text: str) -> str:
    """Return the separator: the one in the header row, or the one that gives all rows the same number of columns.

    If the first row has a single cell, such as a title, the rows below it decide.
    """
    rows_by_separator = {
        separator: [len(row) for row in _rows(text, separator) if row] for separator in SEPARATORS if separator in text
    }
    for start in (0, 1):
        widths = {
            separator: len(set(rows[start:])) == 1
            for separator, rows in rows_by_separator.items()
            if max(rows[:1] if start == 0 else rows, default=0) > 1
        }
        if widths:
            return _likeliest(widths, text, start + 1)
    return ","


def _likeliest(widths: dict[str, bool], text: str, line: int) -> str:
    """Return one of the separators in `widths`, which says whether each gives all rows the same number of columns."""
    if len(widths) > 1 and _NO_DECIMAL_COMMA.search(text) is None:
        widths.pop(",", None)  # all commas are decimal ones, as in "1,50"
    even = [separator for separator, is_even in widths.items() if is_even]
    if len(even) == 1:
        return even[0]
    if len(widths) > 1:
        raise ColumnError(
            f"line {line} can be read with {' and with '.join(map(repr, widths))} between its columns: put the "
            "numbers that hold them into quotes, or leave only the first column in the file"
        )
    return next(iter(widths))


def _rows(text: str, separator: str) -> Iterator[list[str]]:
    """Yield the rows as they are with this separator, which may be the wrong one."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    try:
        yield from reader
    except csv.Error as error:
        raise ColumnError(f"line {reader.line_num}: {error}") from None


def _strict_rows(text: str, separator: str, skipped: int) -> Iterator[tuple[int, list[str]]]:
    """Yield each row with the number of the line that it begins on.

    `skipped`: lines of the file before `text`, for errors. Raises ColumnError for quotes that are not closed, and for
    text after a closing quote, because a quote too many would hide the rows up to the next one.
    """
    reader = csv.reader(
        io.StringIO(_without_blanks_after_quotes(text, separator), newline=""),
        delimiter=separator,
        skipinitialspace=True,
        strict=True,
    )
    number = 1
    try:
        for row in reader:
            yield number, row
            number = reader.line_num + 1
    except csv.Error as error:
        where = f"line {number + skipped}"
        if "unexpected end" in str(error):
            problem = "a cell has no closing quote: close it, or write a quote that belongs to the text twice"
            raise ColumnError(f"{where}: {problem}") from None
        if "expected after" in str(error):
            raise ColumnError(
                f"{where}: text follows the closing quote of a cell (on line {reader.line_num + skipped}): put the "
                "whole cell into quotes, and write a quote that belongs to it twice"
            ) from None
        raise ColumnError(f"{where}: {error}") from None


def _without_blanks_after_quotes(text: str, separator: str) -> str:
    """Remove the blanks between a closing quote and the end of its cell, which the strict reader refuses."""
    if '"' not in text:
        return text
    end = re.escape(separator)
    blanks = " \xa0" if separator == "\t" else " \t\xa0"
    cell = rf'(?<![^{end}\r\n])(?P<cell> *+"[^"]*+(?:""[^"]*+)*+")(?:[{blanks}]++(?=[{end}\r\n]|\Z))?'
    return re.sub(cell, lambda match: match["cell"], text)
