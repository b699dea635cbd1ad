"""A demo's table."""

from itertools import zip_longest
from typing import Literal

from rich.table import Table
from rich.text import Text

from deploy.demo.posts import DemoArrival, Post


def table(posts: list[Post]) -> Table:
    """A block of lines a post, in 100 columns."""
    made = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("event", "answer", "worker", "came out as", "after"):
        # Where it gets narrow, because something took seconds, the one column of sentences gives way.
        justify: Literal["left", "right"] = "right" if name == "after" else "left"
        made.add_column(name, justify=justify, overflow="fold", no_wrap=name != "came out as")
    for post in posts:
        if made.row_count:
            made.add_row()
        came = post.came or [DemoArrival("nothing", post.problem or "")]
        lines = zip_longest(
            (post.platform.name, post.example),
            (f"{post.status}", milliseconds(post.ms)),
            post.workers,
            (f"{one.kind:<5} {one.what}" for one in came),
            ("" if one.ms is None else milliseconds(one.ms) for one in came),
            fillvalue="",
        )
        for cells in lines:
            made.add_row(*map(Text, cells))
    return made


def milliseconds(value: float) -> str:
    """Tenths where they say something: eight characters at most, in any minute."""
    return f"{value:.1f} ms" if value < 1000 else f"{value:.0f} ms"
