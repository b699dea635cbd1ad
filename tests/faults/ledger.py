"""The ledger of everything posted and answered, with which the verdict compares what is stored and delivered."""

import itertools
import time
from collections.abc import Iterator
from uuid import UUID

import msgspec

from schemas import documents, registry

ERROR = 0
"""Status of a post that got no answer."""


class Body(msgspec.Struct, frozen=True, eq=False):
    """A document under a business key of its own, which no other document of the run has."""

    platform: str
    event: str
    type: str
    key: str
    raw: bytes
    padding: int = 0
    """Bytes that the document has beyond `raw`; they are made when it is sent, so that no ledger holds gigabytes."""

    @property
    def content(self) -> bytes:
        """The document as it is sent."""
        if not self.padding:
            return self.raw
        return self.raw.replace(b"{", b'{"padding": "' + b"x" * (self.padding - 15) + b'",', 1)


class Post(msgspec.Struct, eq=False):
    """One request of the load."""

    body: Body
    began: float
    """Monotonic seconds, as is `ended`."""
    ended: float = 0.0
    status: int | None = None
    """None: in progress. `ERROR`: no answer, so that it is unknown whether the post was accepted."""
    id: UUID | None = None
    """The message id of the answer."""
    answer: bytes = b""

    @property
    def accepted(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


def body(platform: str, event: str, example: str, fresh: str) -> Body:
    """Return the example as the platform would send it for another order. `fresh`: a key that was never used."""
    known = registry.platforms()[platform]
    assert known.with_new_key is not None
    raw = known.with_new_key(event, registry.example(platform, example), fresh)
    reading = documents.describe(known, event, raw).reading
    return Body(platform, event, reading.type, reading.key, raw)


def bodies(run: int) -> Iterator[Body]:
    """Yield every example of every event of every platform, again and again, each time under a fresh key. `run`:
    distinguishes the keys of two runs."""
    examples = [
        (platform.name, event.name, example)
        for platform in registry.platforms().values()
        for event in platform.events
        for example in event.examples
    ]
    for number in itertools.count():
        platform, event, example = examples[number % len(examples)]
        yield body(platform, event, example, f"{run:016x}{number:016x}")


class Ledger:
    """All posts of a run, in their order and by business key."""

    def __init__(self) -> None:
        self.posts: list[Post] = []
        self._of: dict[tuple[str, str], list[Post]] = {}

    def begin(self, body: Body) -> Post:
        """Record and return a post that is about to be sent."""
        post = Post(body, time.monotonic())
        self.posts.append(post)
        self._of.setdefault((body.type, body.key), []).append(post)
        return post

    def of(self, type_: str, key: str) -> list[Post]:
        """Return every post of one document, whatever was answered."""
        return self._of.get((type_, key), [])

    def accepted(self, start: int = 0) -> list[Post]:
        """Return the posts answered 2xx, from the `start`th post on."""
        return [post for post in self.posts[start:] if post.accepted]
