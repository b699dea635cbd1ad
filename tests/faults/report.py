"""What came of a run, for a terminal and in Markdown."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.table import Table

from tests.faults import verdict
from tests.faults.suite import Done
from tests.faults.trial import Row

COLUMNS = ("posts", "accepted", "503", "no answer", "recovered after", *verdict.COUNTS)
"""The columns after the fault's name."""


def cells(row: Row) -> tuple[str, ...]:
    """One row of the table."""
    if row.skipped is not None:
        return (f"not run: {row.skipped}", *[""] * (len(COLUMNS) - 1))
    if row.error is not None:
        return (f"failed: {row.error}", *[""] * (len(COLUMNS) - 1))
    recovery = "never" if row.recovery is None else f"{row.recovery:.1f} s"
    counts = (row.posts, row.accepted, row.refused, row.unanswered)
    return (*map(str, counts), recovery, *map(str, row.verdict.counts))


def table(run: Sequence[Done]) -> Table:
    """Return the table for a terminal."""
    table = Table("fault", *COLUMNS)
    for group in _groups(run):
        table.add_section()
        for done in group:
            table.add_row(done.row.fault, *cells(done.row), style=None if done.passed else "red")
    return table


def whole(run: Sequence[Done]) -> str:
    """Every fault, in Markdown."""
    lines = _head("fault", COLUMNS)
    for group in _groups(run):
        lines.append(f"| **{group[0].group}** |" + " |" * len(COLUMNS))
        lines += [f"| {done.row.fault} | {' | '.join(cells(done.row))} |" for done in group]
    return "\n".join(lines)


def summary(run: Sequence[Done]) -> str:
    """A line a kind of fault, in Markdown: sums, and the slowest recovery."""
    shown = ("faults", *COLUMNS[:4], "slowest recovery", *COLUMNS[5:])
    lines = _head("what breaks", shown)
    for group in _groups([done for done in run if done.mutant is None]):
        rows = [done.row for done in group if done.row.skipped is None and done.row.error is None]
        if not rows:
            lines.append(f"| {group[0].group} | {cells(group[0].row)[0]} |" + " |" * (len(shown) - 1))
            continue
        sums = [sum(int(value) for value in column) for column in zip(*(_counts(row) for row in rows), strict=True)]
        times = [row.recovery for row in rows]
        slowest = "never" if None in times else f"{max(filter(None, times)):.1f} s"
        failed = sum(done.row.error is not None for done in group)
        count = f"{len(rows)}, {failed} failed" if failed else str(len(rows))
        words = [count, *(f"{value:,}" for value in sums[:4]), slowest, *map(str, sums[4:])]
        lines.append(f"| {group[0].group} | {' | '.join(words)} |")
    return "\n".join(lines)


def total(run: Sequence[Done]) -> str:
    """A sentence over the whole run, without the mutants."""
    rows = [done.row for done in run if done.mutant is None]
    ran = [row for row in rows if row.skipped is None and row.error is None]
    posts, accepted = sum(row.posts for row in ran), sum(row.accepted for row in ran)
    times = [row.recovery for row in ran]
    slowest = "never" if None in times else f"{max(filter(None, times)):.1f} s"
    sums = [sum(column) for column in zip(*(row.verdict.counts for row in ran), strict=True)]
    counts = ", ".join(f"{name} {count:,}" for name, count in zip(verdict.COUNTS, sums, strict=True))
    incomplete = f", {len(rows) - len(ran)} failed or not run" if len(ran) < len(rows) else ""
    head = f"{len(ran)} faults{incomplete}, {posts:,} posts, {accepted:,} accepted, slowest recovery {slowest}"
    return f"**{head}: {counts}.**"


def _counts(row: Row) -> list[str]:
    texts = list(cells(row))
    return texts[:4] + texts[5:]


def _head(first: str, columns: Sequence[str]) -> list[str]:
    return [f"| {first} | {' | '.join(columns)} |", "|---|" + "---:|" * len(columns)]


def _groups(run: Iterable[Done]) -> list[list[Done]]:
    groups: dict[str, list[Done]] = {}
    for done in run:
        groups.setdefault(done.group, []).append(done)
    return list(groups.values())


def write(file: Path, name: str, text: str) -> None:
    """Puts `text` between the file's `<!-- NAME -->` and `<!-- /NAME -->`. Raises ValueError if they aren't there."""
    first, last = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, separator, rest = file.read_text().partition(first)
    _, ended, after = rest.partition(last)
    if not separator or not ended:
        raise ValueError(f"{file.name} has no {first} … {last}")
    file.write_text(f"{before}{first}\n{text}\n{last}{after}")
