"""The table that a demo prints."""

from itertools import zip_longest
from typing import Literal

from rich.table import Table
from rich.text import Text

from deploy.demo.posts import DemoArrival, Post


def table(posts: list[Post]) -> Table:
    """Return a table with a block of lines per post, at most 100 columns wide."""
    rows = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("event", "answer", "worker", "came out as", "after"):
        # The only column of sentences is wrapped if others become wider, because something took seconds.
        justify: Literal["left", "right"] = "right" if name == "after" else "left"
        rows.add_column(name, justify=justify, overflow="fold", no_wrap=name != "came out as")
    for post in posts:
        if rows.row_count:
            rows.add_row()
        arrivals = post.arrivals or [DemoArrival("nothing", post.problem or "")]
        lines = zip_longest(
            (post.platform.name, post.example),
            (f"{post.status}", milliseconds(post.ms)),
            post.workers,
            (f"{arrival.kind:<5} {arrival.what}" for arrival in arrivals),
            ("" if arrival.ms is None else milliseconds(arrival.ms) for arrival in arrivals),
            fillvalue="",
        )
        for cells in lines:
            rows.add_row(*map(Text, cells))
    return rows


def milliseconds(value: float) -> str:
    """Return milliseconds as text, with tenths below one second: at most eight characters within a minute."""
    return f"{value:.1f} ms" if value < 1000 else f"{value:.0f} ms"
