"""The demo's table, where the machine is busy and everything took seconds."""

import io
from pathlib import Path

import msgspec
from rich.console import Console

from deploy import config as configuration
from deploy.demo.__main__ import WIDTH
from deploy.demo.posts import DemoArrival, examples
from deploy.demo.table import milliseconds, table


def test_in_a_hundred_columns_only_sentences_are_broken() -> None:
    posts = list(examples(configuration.parse({}, Path())))
    for post in posts:
        event = f"{post.platform.name}.{post.event.types[0].split('.')[-1]}.{post.account}"
        post.status, post.ms = 200, 12_345.6
        post.arrivals = [
            DemoArrival("queue", event, 99_999.0),
            DemoArrival("item", "3088 to 1, " + "and to the annex " * 5),
        ]
    out = io.StringIO()
    Console(file=out, width=WIDTH, highlight=False, markup=False).print(table(posts))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= WIDTH
    for post in posts:
        assert any(line.startswith(f"{post.example} ") for line in lines), post.example
        assert any(f"queue {post.arrivals[0].what} " in line and line.endswith(" 99999 ms") for line in lines)


def test_only_a_platform_that_announces_shares_answers_with_recipients() -> None:
    """Whether a platform signs its answers says nothing about what they hold."""
    posts = {post.name: post for post in examples(configuration.parse({}, Path()))}
    assert [name for name, post in posts.items() if post.is_allocated] == ["ustore manufacturer_allocation"]
    signed = posts["ustore manufacturer_allocation"]
    signed.platform = msgspec.structs.replace(signed.platform, announcement=None)
    assert not signed.is_allocated


def test_milliseconds_take_eight_characters_at_most() -> None:
    assert [milliseconds(ms) for ms in (0.04, 12.34, 999.94, 1000.4, 99_999.4)] == [
        "0.0 ms", "12.3 ms", "999.9 ms", "1000 ms", "99999 ms",
    ]  # fmt: skip
