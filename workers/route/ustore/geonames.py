"""GeoNames' postal code files: tab-separated, country 1st, code 2nd, latitude 10th, longitude 11th.

A folder holds the files of countries (`NL.txt`, `CA_full.txt`), or the archives in which GeoNames offers them. The file
of all countries is not read, because its 1.5 million rows would take half a minute and 700 MB in every route worker.
"""

import codecs
import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TypeAlias

from schemas import invisible
from workers.route.ustore import addresses

FOLDER_VARIABLE = "CROSSDOCK_POSTAL_CODES"

Row: TypeAlias = tuple[str, str, float, float]
"""Country (ISO 3166-1 alpha-2), code as `addresses.postal` returns it, latitude and longitude in degrees."""

_NAME = re.compile(r"[a-z]{2}(?:_full)?\.(?:zip|(?:txt|csv|tsv)(?:\.zip)?)", re.IGNORECASE)
_PARTIAL_NAME = re.compile(r"(?!README)[A-Z]{2}.*\.txt")
"""Part of a country's file, as in `CA_east.txt`."""
_ALL_COUNTRIES = re.compile(r"allcountries\..*", re.IGNORECASE)
_SPLIT = r"""split it by country, as with `awk -F'\t' '{print > $1 ".txt"}' allCountries.txt`"""
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_LINK = "https://download.geonames.org/export/zip/"


class PostalCodesError(ValueError):
    """The operator's postal code files can't be used; the text names file and line and says what to do."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"{FOLDER_VARIABLE}: {problem}")


def files(folder: Path) -> list[Path]:
    """Return the postal code files of a folder, sorted by name. Raises PostalCodesError if there are none."""
    try:
        names = sorted(file.name for file in folder.iterdir() if not file.is_dir())
    except OSError as error:
        problem = "is not a folder" if isinstance(error, NotADirectoryError) else f"can't be read: {error.strerror}"
        raise PostalCodesError(f"{folder} {problem}: name a folder with files such as US.txt, or unset it") from None
    countries = [folder / name for name in names if _is_codes(name)]
    if not countries:
        hint = f"download them from {_LINK}, or unset it"
        if any(map(_ALL_COUNTRIES.fullmatch, names)):
            hint = f"allCountries.txt is too large to be read whole; {_SPLIT}"
        raise PostalCodesError(f"no postal code files such as US.txt or US.zip are in {folder}: {hint}")
    return countries


def rows(file: Path) -> Iterator[Row]:
    """Yield the rows of a file or of the files in an archive. Raises PostalCodesError."""
    try:
        if file.suffix.lower() != ".zip":
            with file.open("rb") as content:
                yield from _parsed(content, str(file))
            return
        with zipfile.ZipFile(file) as archive:
            members = [name for name in archive.namelist() if _is_codes(name.rpartition("/")[2])]
            if not members:
                raise PostalCodesError(f"{file} holds no postal code file such as US.txt: remove it, or unpack it")
            for name in members:
                with archive.open(name) as content:
                    yield from _parsed(content, f"{file}, {name}")
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        problem = f"{file} is not a readable ZIP archive ({error}): download it again, or unpack it"
        raise PostalCodesError(problem) from None
    except OSError as error:
        raise PostalCodesError(f"{file} can't be read: {error.strerror or error}") from None


def _is_codes(name: str) -> bool:
    return _NAME.fullmatch(name) is not None or _PARTIAL_NAME.fullmatch(name) is not None


def _parsed(content: IO[bytes], name: str) -> Iterator[Row]:
    for number, line in _lines(content, name):
        if not line.strip():
            continue
        columns = line.split("\t")
        try:
            country, code = invisible.trimmed(columns[0]).upper(), addresses.postal(columns[1])
            latitude, longitude = float(columns[9]), float(columns[10])
        except (IndexError, ValueError):
            country, code, latitude, longitude = "", "", 0.0, 0.0
        if not (len(country) == 2 and country.isalpha() and abs(latitude) <= 90 and abs(longitude) <= 180):
            raise PostalCodesError(
                f"{name}, line {number}: not a line of a GeoNames postal code file (columns separated by tabs, country "
                "1st, code 2nd, latitude 10th, longitude 11th): correct or remove the line, or download the file again"
            )
        yield country, code, latitude, longitude


def _lines(content: IO[bytes], name: str) -> Iterator[tuple[int, str]]:
    """Yield the lines of a file in UTF-8, or in UTF-16 with a mark, with their numbers."""
    encoding = "utf-16" if content.read(2) in _UTF16_MARKS else "utf-8-sig"
    content.seek(0)
    number = 0
    try:
        # Decoded in blocks, so that a strict error would be far from the line that is read.
        with io.TextIOWrapper(content, encoding, "surrogateescape") as lines:
            for number, line in enumerate(lines, 1):
                if not line.isascii():
                    line.encode()
                yield number, line
    except UnicodeError:
        expected = encoding.removesuffix("-sig").upper()
        problem = f"{name}, line {number}: not {expected}: save the file as UTF-8, or download it again"
        raise PostalCodesError(problem) from None
