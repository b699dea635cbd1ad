"""What the page of one document shows, made of what `storage.document` reads."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

import msgspec

from ingress.console import bodies, diff, links, state, timeline
from ingress.console.bodies import BodyView
from ingress.console.diff import Difference
from ingress.console.jsontree import Node
from ingress.console.masking import Mask
from ingress.console.progress import LineView
from ingress.console.state import Recipient
from ingress.console.timeline import Step
from schemas.allocation import AllocationWords
from storage import timeline as timeline_of
from storage.document import (
    DELIVERIES,
    NEWEST,
    RELATED,
    Content,
    DocumentRow,
    History,
    OrderLine,
    RelatedDocument,
    SentDelivery,
    StoredVersion,
    life,
)
from storage.timeline import AllocatedItem, Moment, Record
from storage.timeline import timeline as moments_of


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was read of one document."""

    document: DocumentRow
    past: History
    sent: Sequence[SentDelivery]
    progress: Sequence[LineView]
    lines: Sequence[OrderLine]
    related: Sequence[RelatedDocument]
    contents: Mapping[int, Content]


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """The versions that the operator looks at: the one whose body is shown, and two that are compared."""

    version: int
    a: int
    b: int

    @property
    def versions(self) -> list[int]:
        """All versions whose bodies are read."""
        return sorted({self.version, self.a, self.b})


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What does not come from the database."""

    now: datetime
    origin: str
    """Scheme and host of this console."""
    api_url: str
    may_act: bool
    is_shown: bool
    """Whether personal data are shown."""
    words: AllocationWords
    """What the configuration says of the manufacturers and rules of the document's account."""


class VersionsView(msgspec.Struct, frozen=True, kw_only=True):
    """Two versions beside each other."""

    a: int
    b: int
    difference: Difference | None
    problem: str | None
    """Why they are not compared."""
    contents: Sequence[Content]
    """Both, to download them."""


class AllocationView(msgspec.Struct, frozen=True, kw_only=True):
    """The manufacturer of one item, and why."""

    item: str
    line: OrderLine | None
    manufacturer: str
    name: str
    """The manufacturer's name in today's configuration; empty if it has none there."""
    rule: str
    says: str
    """What that rule says in today's configuration; empty if it is no longer there."""
    why: str


class AnswerView(msgspec.Struct, frozen=True, kw_only=True):
    """One answer to an order: who makes what."""

    at: datetime
    message_id: UUID
    items: Sequence[AllocationView]
    announced: Sequence[str] | None
    """The manufacturers that were notified; None if the answer came too late to notify any."""


class DocumentView(msgspec.Struct, frozen=True, kw_only=True):
    """The page of one document."""

    document: DocumentRow
    name: str
    """Its type in words."""
    path: str
    """The address to paste into a ticket."""
    url: str
    sentence: str
    flags: Sequence[str]
    progress: Sequence[LineView]
    progress_of: str
    """The key of the transfer order whose progress is shown."""
    transfer: str
    """The address of the page of that transfer."""
    lines: Sequence[OrderLine]
    answers: Sequence[AnswerView]
    """Sorted so that the newest comes first."""
    steps: Sequence[Step]
    are_steps_cut: bool
    versions: Sequence[StoredVersion]
    """Sorted so that the newest comes first."""
    are_versions_cut: bool
    compared: VersionsView | None
    """None if there is only one version."""
    recipients: Sequence[Recipient]
    are_deliveries_cut: bool
    related: Sequence[RelatedDocument]
    is_related_cut: bool
    choice: Choice
    body: BodyView | None
    """None if the version is no longer stored."""
    is_shown: bool
    may_act: bool
    command: str
    curl: str
    now: datetime


def choice(document: DocumentRow, version: int | None, a: int | None, b: int | None) -> Choice:
    """Return the versions to show: by default the newest, and what changed in it."""
    newest = document.version
    b = b or newest
    return Choice(version=version or newest, a=a or max(b - 1, 1), b=b)


def view(parts: Parts, chosen: Choice, around: Surroundings) -> DocumentView:
    """Return the page of one document."""
    document = parts.document
    mask = Mask(document.platform)
    trees = {number: bodies.tree(content, document.platform) for number, content in parts.contents.items()}
    if not around.is_shown:
        trees = {number: tree if tree is None else mask.tree(tree) for number, tree in trees.items()}
    hide: Callable[[str], str] = str if around.is_shown else mask.text
    path = links.document(document.platform, document.account, document.type, document.key)
    sent = state.recipients(parts.sent, hide)
    versions = parts.past.versions[::-1]
    content = parts.contents.get(chosen.version)
    past = parts.past if around.is_shown else _without_places(parts.past, mask)
    lines = [msgspec.structs.replace(line, name=line.name and hide(line.name)) for line in parts.lines]
    moments = sorted([*moments_of(life(document, past, parts.sent)), *_setbacks(past)], key=lambda step: step.at)
    return DocumentView(
        document=document,
        name=links.type_words(document.type),
        path=path,
        url=around.origin + path,
        sentence=state.sentence(
            document, parts.past, sent, around.now, [line_view.line for line_view in parts.progress]
        ),
        flags=versions[0].flags if versions else (),
        progress=parts.progress,
        progress_of=document.order_ref or document.key,
        transfer=links.transfer(document.account, document.order_ref or document.key),
        lines=lines,
        answers=_answers(past.records, lines, around.words),
        steps=timeline.steps(moments, _Links(document, versions), hide),
        are_steps_cut=len(moments) > timeline.STEPS or len(parts.past.receipts) >= NEWEST,
        versions=versions,
        are_versions_cut=len(versions) >= NEWEST,
        compared=_compared(parts, chosen, trees),
        recipients=sent,
        are_deliveries_cut=len(parts.sent) >= DELIVERIES,
        related=parts.related,
        is_related_cut=len(parts.related) >= RELATED,
        choice=chosen,
        body=None if content is None else bodies.view(content, trees[chosen.version], is_masked=not around.is_shown),
        is_shown=around.is_shown,
        may_act=around.may_act,
        command=shlex.join(["crossdock", "trace", document.key]),
        curl=_curl(around.api_url, content),
        now=around.now,
    )


def _setbacks(past: History) -> list[Moment]:
    """Return what happened to messages of the document that could not be processed at first."""
    return [step._replace(subject=message.id) for message in past.quarantined for step in timeline_of.setbacks(message)]


class _Links:
    """Where each step of the life of a document is shown."""

    def __init__(self, document: DocumentRow, versions: Sequence[StoredVersion]) -> None:
        self._id = document.id
        self._versions = {version.id: version.version for version in versions}
        self._messages = {version.message_id: version.version for version in versions}

    def __call__(self, moment: Moment) -> str:
        subject = moment.subject
        if subject is None:
            return "#allocations"
        if moment.what == "allocated":
            return "#allocations"
        if moment.what in timeline_of.SETBACKS:
            return links.quarantined(subject)
        version = self._versions.get(subject) or self._messages.get(subject)
        if version is not None:
            return links.document_id(self._id, version=version)
        if moment.what == "received":
            return "#versions"  # content that was received before
        return links.delivery(subject)


def _compared(parts: Parts, chosen: Choice, trees: Mapping[int, Node | None]) -> VersionsView | None:
    if parts.document.version < 2 or chosen.a == chosen.b:
        return None
    problem = None
    contents = [parts.contents[number] for number in (chosen.a, chosen.b) if number in parts.contents]
    for number in (chosen.a, chosen.b):
        content = parts.contents.get(number)
        if content is None:
            problem = f"Version {number} is not stored."
        elif content.is_erased:
            problem = f"The content of version {number} was erased."
        elif content.raw is None:
            problem = f"Version {number} is too large to be compared: download both."
        elif trees.get(number) is None:
            problem = f"Version {number} is not JSON that can be compared: download both."
    if problem is not None:
        return VersionsView(a=chosen.a, b=chosen.b, difference=None, problem=problem, contents=contents)
    difference = diff.compare(trees.get(chosen.a), trees.get(chosen.b))
    return VersionsView(a=chosen.a, b=chosen.b, difference=difference, problem=None, contents=contents)


def _without_places(past: History, mask: Mask) -> History:
    """Return a history in which the reasons of allocations do not say where a shopper lives."""
    records = [
        replace(
            record,
            items=[
                replace(item, detail=None if item.detail is None else mask.reason(item.detail)) for item in record.items
            ],
        )
        for record in past.records
    ]
    return msgspec.structs.replace(past, records=records)


def _answers(records: Sequence[Record], lines: Sequence[OrderLine], words: AllocationWords) -> list[AnswerView]:
    """Return the answers to an order, the newest first; repeats of the same answer are left out."""
    by_id = {line.line: line for line in lines}

    def item(allocated: AllocatedItem) -> AllocationView:
        return AllocationView(
            item=allocated.item,
            line=by_id.get(allocated.item),
            manufacturer=allocated.manufacturer,
            name=words.manufacturers.get(allocated.manufacturer, ""),
            rule=allocated.rule,
            says=words.rules.get(allocated.rule, ""),
            why=allocated.detail or "",
        )

    answers = []
    before: list[AllocatedItem] | None = None
    for record in records:
        if record.items != before:
            items = [item(allocated) for allocated in record.items]
            answers.append(
                AnswerView(at=record.received_at, message_id=record.message_id, items=items, announced=record.announced)
            )
        before = record.items
    return answers[::-1]


def _curl(api_url: str, content: Content | None) -> str:
    """Return the command that fetches the event of a version from the API, with the token as a variable."""
    if content is None:
        return ""
    return f'curl -H "Authorization: Bearer $SECRET" {shlex.quote(f"{api_url}/v1/events/{content.id}")}'
