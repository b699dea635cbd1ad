"""The report of a run, for a terminal and in Markdown."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.table import Table

from tests.faults import verdict
from tests.faults.suite import Result
from tests.faults.trial import Row

COLUMNS = ("posts", "accepted", "503", "no answer", "recovered after", *verdict.COUNTS)
"""The columns after the fault's name."""


def cells(row: Row) -> tuple[str, ...]:
    """Return the cells of a row, one for each of COLUMNS."""
    if row.skipped is not None:
        return (f"not run: {row.skipped}", *[""] * (len(COLUMNS) - 1))
    if row.error is not None:
        return (f"failed: {row.error}", *[""] * (len(COLUMNS) - 1))
    recovery = "never" if row.recovery is None else f"{row.recovery:.1f} s"
    counts = (row.posts, row.accepted, row.refused, row.unanswered)
    return (*map(str, counts), recovery, *map(str, row.verdict.counts.values()))


def table(run: Sequence[Result]) -> Table:
    """Return the table of all faults, for a terminal."""
    table = Table("fault", *COLUMNS)
    for group in _groups(run):
        table.add_section()
        for result in group:
            table.add_row(result.row.fault, *cells(result.row), style=None if result.passed else "red")
    return table


def whole(run: Sequence[Result]) -> str:
    """Return the table of all faults, in Markdown."""
    lines = _head("fault", COLUMNS)
    for group in _groups(run):
        lines.append(f"| **{group[0].group}** |" + " |" * len(COLUMNS))
        lines += [f"| {result.row.fault} | {' | '.join(cells(result.row))} |" for result in group]
    return "\n".join(lines)


def summary(run: Sequence[Result]) -> str:
    """Return a table with a row per group of faults, in Markdown: sums, and the slowest recovery."""
    shown = ("faults", *COLUMNS[:4], "slowest recovery", *COLUMNS[5:])
    lines = _head("what breaks", shown)
    for group in _groups([result for result in run if result.mutant is None]):
        rows = [result.row for result in group if result.row.skipped is None and result.row.error is None]
        if not rows:
            lines.append(f"| {group[0].group} | {cells(group[0].row)[0]} |" + " |" * (len(shown) - 1))
            continue
        sums = [sum(int(value) for value in column) for column in zip(*(_counts(row) for row in rows), strict=True)]
        times = [row.recovery for row in rows]
        slowest = "never" if None in times else f"{max(filter(None, times)):.1f} s"
        failed = sum(result.row.error is not None for result in group)
        count = f"{len(rows)}, {failed} failed" if failed else str(len(rows))
        words = [count, *(f"{value:,}" for value in sums[:4]), slowest, *map(str, sums[4:])]
        lines.append(f"| {group[0].group} | {' | '.join(words)} |")
    return "\n".join(lines)


def total(run: Sequence[Result]) -> str:
    """Return a sentence about the whole run, without the mutants."""
    rows = [result.row for result in run if result.mutant is None]
    ran = [row for row in rows if row.skipped is None and row.error is None]
    posts, accepted = sum(row.posts for row in ran), sum(row.accepted for row in ran)
    times = [row.recovery for row in ran]
    slowest = "never" if None in times else f"{max(filter(None, times)):.1f} s"
    sums = [sum(column) for column in zip(*(row.verdict.counts.values() for row in ran), strict=True)]
    counts = ", ".join(f"{name} {count:,}" for name, count in zip(verdict.COUNTS, sums, strict=True))
    incomplete = f", {len(rows) - len(ran)} failed or not run" if len(ran) < len(rows) else ""
    head = f"{len(ran)} faults{incomplete}, {posts:,} posts, {accepted:,} accepted, slowest recovery {slowest}"
    return f"**{head}: {counts}.**"


def _counts(row: Row) -> list[str]:
    texts = list(cells(row))
    return texts[:4] + texts[5:]


def _head(first: str, columns: Sequence[str]) -> list[str]:
    return [f"| {first} | {' | '.join(columns)} |", "|---|" + "---:|" * len(columns)]


def _groups(run: Iterable[Result]) -> list[list[Result]]:
    groups: dict[str, list[Result]] = {}
    for result in run:
        groups.setdefault(result.group, []).append(result)
    return list(groups.values())


def write(file: Path, name: str, text: str) -> None:
    """Write `text` between the file's `<!-- NAME -->` and `<!-- /NAME -->`. Raises ValueError if it has none."""
    first, last = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, separator, rest = file.read_text().partition(first)
    _, ended, after = rest.partition(last)
    if not separator or not ended:
        raise ValueError(f"{file.name} has no {first} … {last}")
    file.write_text(f"{before}{first}\n{text}\n{last}{after}")
