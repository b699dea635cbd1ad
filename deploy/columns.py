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

from schemas import encodings, invisible

SEPARATORS = ";,\t|"
"""Possible separators, the likeliest first."""

_NO_DECIMAL_COMMA = re.compile(r"(?<!\d),|,(?!\d)")
_GUARD = re.compile(r'=\s*"(?P<text>(?:[^"]|"")*)"')
_ERROR_VALUE = re.compile(r"#[¡¿]?[^\W\d_][\w/]*[!?]|#N/?[ABDV]|##+|#GETTING_DATA|Err:\d{3}", re.IGNORECASE)
"""Of spreadsheets in several languages: `#REF!`, `#BEZUG!`, `#¿NOMBRE?`, `#N/A`, `#NV`."""
_E_NOTATION = re.compile(r"[+-]?\d(?:[.,]\d+E[+-]?|E\+)\d+", re.IGNORECASE)
"""Not `2E-10` and `1E5`, which may be article numbers."""


class ColumnError(ValueError):
    """A file is not a list; the text names the line and says what to do."""


def read(file: Path, header: str) -> list[str]:
    """Return the first column of `file` without blanks at the ends, empty cells and the header row.

    A first row that begins with `header` (`article`, or `articles`) is the header. Raises ColumnError and OSError.
    """
    text = _text(file.read_bytes())
    lines, skipped = text.splitlines(), 0
    if lines and lines[0].lower().startswith("sep=") and len(lines[0].strip()) == len("sep=") + 1:
        separator, text = lines[0].strip()[-1], text.partition("\n")[2]  # Excel names the separator in the first line
        skipped = 1
    else:
        separator = _separator(text)
    numbered = [(number + skipped, row) for number, row in _numbered_rows(text, separator) if row]
    _refuse_other_separators(text, [row for _, row in numbered])
    cells = [cell for number, row in numbered if (cell := _cell(row[0], number))]
    return cells[1:] if cells and cells[0].lower() in (header, f"{header}s") else cells


def _cell(written: str, line: int) -> str:
    """Return the text that a cell means. Raises ColumnError for a formula, an error value or a rounded number."""
    cell = invisible.trimmed(written)
    if guarded := _GUARD.fullmatch(cell):
        return guarded["text"].replace('""', '"').strip()
    if cell.startswith("'"):
        return cell[1:].removesuffix("'").strip()
    if cell.startswith("="):
        raise ColumnError(f"line {line}: {cell!r} is a formula: put its value there, and save the file again")
    if _ERROR_VALUE.fullmatch(cell):
        raise ColumnError(f"line {line}: {cell!r} is a spreadsheet's error value: correct the cell, or remove the line")
    if _E_NOTATION.fullmatch(cell):
        raise ColumnError(
            f"line {line}: {cell!r} is a number that a spreadsheet has rounded: format the column as text, enter the "
            f"whole number, and save the file again; if it is meant as it is, write it as '{cell}"
        )
    return cell


def _refuse_other_separators(text: str, rows: list[list[str]]) -> None:
    """Raise ColumnError for a row with fewer columns than the first, if its first cell holds another separator.

    Such a cell would be read as one long number, which no order ever contains.
    """
    for row in rows[1:]:
        other = next((separator for separator in SEPARATORS if separator in row[0]), None)
        if len(row) < len(rows[0]) and other is not None and f'"{row[0]}"' not in text:
            number = text[: text.index(row[0])].count("\n") + 1
            raise ColumnError(
                f"line {number} has {len(row)} of {len(rows[0])} columns, and {other!r} in its first: separate all "
                "lines alike, or put a number that holds it into quotes"
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
    """Return the separator: the one in the header row, or the one that gives all rows the same number of columns."""
    widths = {}
    for separator in SEPARATORS:
        if separator in text:
            rows = [len(row) for row in _rows(text, separator) if row]
            if rows and rows[0] > 1:
                widths[separator] = len(set(rows)) == 1
    if len(widths) > 1 and _NO_DECIMAL_COMMA.search(text) is None:
        widths.pop(",", None)  # all commas are decimal ones, as in "1,50"
    even = [separator for separator, is_even in widths.items() if is_even]
    if len(even) == 1:
        return even[0]
    if len(widths) > 1:
        raise ColumnError(
            f"line 1 can be read with {' and with '.join(map(repr, widths))} between its columns: put the "
            "numbers that hold them into quotes, or leave only the first column in the file"
        )
    return next(iter(widths), ",")


def _rows(text: str, separator: str) -> Iterator[list[str]]:
    return (row for _, row in _numbered_rows(text, separator))


def _numbered_rows(text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each row with the number of the line that it begins on."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    number = 1
    try:
        for row in reader:
            yield number, row
            number = reader.line_num + 1
    except csv.Error as error:
        raise ColumnError(f"line {reader.line_num}: {error}") from None
