"""The result of a run as a table, as Markdown and JSON, and as part of a page."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from bench.row import Row, spread

RESULTS = Path(__file__).parent / "results"
COLUMNS = ("what", "against", "ours", "theirs", "ratio", "goal", "")
SHORT = ("what", "against", "ratio", "goal", "")
ALIKE = ("256 connections", "messages, MB", ": p95 ms")
"""Ends of the rows that the short table leaves out."""


class Report(msgspec.Struct, frozen=True):
    """One run of the command."""

    rows: list[Row]
    parts: list[str]
    left_out: list[str]
    """Parts that `make bench` runs only on request."""
    quick: bool
    cores: int
    generator: str
    generator_cpu: float
    """The largest share of a core that the load generator took."""
    seconds: float
    """Duration of the whole run."""

    @property
    def summary(self) -> str:
        """A sentence on how it was measured, and what was not."""
        counts = {len(row.ours) for row in self.rows if row.ours} or {0}
        runs = f"{min(counts)} to {max(counts)}" if len(counts) > 1 else str(max(counts))
        text = (
            f"{self.cores} cores, shared by load, servers and programs; load by {self.generator} "
            f"(at most {self.generator_cpu:.2f} of a core); medians of {runs} (lowest–highest), ratios of the pairs; "
            f"{self.seconds / 60:.0f} min."
        )
        if self.left_out:
            text += f" Not in this run: {', '.join(self.left_out)} (`make bench BENCH=--long`)."
        return text


def cells(row: Row) -> tuple[str, ...]:
    """Return the COLUMNS of one row."""
    goal = "" if row.goal is None else f"{'≤' if row.less else '≥'} {row.goal}"
    ours = spread(row.ours, row.digits)
    if row.failed is not None:
        return row.what, row.against, ours, row.failed, "", goal, "failed"
    ratio = "" if row.ratio is None else f"{row.ratio:.3f}" if row.ratio < 0.1 else f"{row.ratio:.2f}"
    remarks = "; ".join(filter(None, (row.verdict, row.note)))
    return row.what, row.against, ours, spread(row.theirs, row.digits), ratio, goal, remarks


def markdown(rows: list[Row]) -> str:
    """Return the table, ending with a line feed."""
    return _table(COLUMNS, map(cells, rows))


def headlines(rows: list[Row]) -> str:
    """Return a short table for the README: ratios and goals, of a part of the rows that have a goal.

    A row that is left out is like one that is shown, and its goal is met.
    """
    shown = [
        row
        for row in rows
        if row.verdict in ("missed", "failed") or (row.goal is not None and not row.what.endswith(ALIKE))
    ]
    return _table(SHORT, ((what, against, *rest) for what, against, _, _, *rest in map(cells, shown)))


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ("---",) * len(columns), *(map(_escaped, row) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _escaped(cell: str) -> str:
    return " ".join(cell.split()).replace("|", "\\|")


def show(console: Console, rows: list[Row]) -> None:
    """Print the table on a terminal."""
    table = Table(title="medians (lowest–highest)", title_justify="left", box=None, pad_edge=False)
    for name in COLUMNS:
        table.add_column(name)
    for row in rows:
        table.add_row(*cells(row))
    console.print(table)


def include(page: Path, name: str, text: str) -> None:
    """Write `text` between `<!-- name -->` and `<!-- /name -->` of a page. Raises ValueError without them."""
    page.write_text(included(page.read_text(), name, text))


def included(page: str, name: str, text: str) -> str:
    """Return the page with `text` between its markers. Raises ValueError unless it has both, in order and once."""
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    changed, count = pattern.subn(lambda _: f"{begin}\n{text.strip()}\n{end}", page)
    if count != 1:
        raise ValueError(f"{begin} … {end} must occur in the page once, but occurs {count} times")
    return changed
