"""A demo's table."""

from itertools import zip_longest

from rich.table import Table
from rich.text import Text

from deploy.demo.posts import Came, Post


def table(posts: list[Post]) -> Table:
    """A block of lines a post, in 100 columns."""
    made = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("event", "answer", "worker", "came out as", "after"):
        made.add_column(name, justify="right" if name == "after" else "left", overflow="fold")
    for post in posts:
        if made.row_count:
            made.add_row()
        came = post.came or [Came("nothing", post.problem or "")]
        lines = zip_longest(
            (post.platform.name, post.example),
            (f"{post.status}", f"{post.ms:.1f} ms"),
            post.workers,
            (f"{one.kind:<7} {one.what}" for one in came),
            ("" if one.ms is None else f"{one.ms:.1f} ms" for one in came),
            fillvalue="",
        )
        for cells in lines:
            made.add_row(*map(Text, cells))
    return made
