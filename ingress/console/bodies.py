"""The body of a version as pages show it: pretty, raw, or as hexadecimal digits; masked until it is asked for. Pure."""

import msgspec

from ingress.console import jsontree
from ingress.console.excerpt import excerpt
from ingress.console.jsontree import Node, NotATreeError
from schemas import documents, registry
from schemas.platform import UnreadableError
from storage.document import Content

MAX_SHOWN = 256 * 1024
"""Characters of a body that are shown."""
MAX_HEX = 4096
"""Bytes of a body that are shown as hexadecimal digits."""


class BodyView(msgspec.Struct, frozen=True, kw_only=True):
    """The body of one version."""

    content: Content
    pretty: str | None
    """As JSON with a line per value; None if it is not JSON."""
    raw: str | None
    """As received; None while it is masked, or if it is too large."""
    is_text: bool = True
    """Whether `raw` is text and not hexadecimal digits."""
    is_cut: bool = False
    """Whether more was received than is shown."""
    problem: str | None = None
    """Why nothing is shown, or not all of it."""


def tree(content: Content | None, platform: str) -> Node | None:
    """Return a body as a tree, repaired as what is sent on is; None if it is not JSON, too large or erased."""
    if content is None or content.raw is None or content.is_erased:
        return None
    known = registry.platforms().get(platform)
    data: bytes | None = content.raw
    if known is not None:
        try:
            data = documents.describe(known, content.event, content.raw, content.content_type).data
        except UnreadableError:  # stored by a version that could read it
            data = content.raw
    try:
        return None if data is None else jsontree.parse(data)
    except NotATreeError:
        return None


def view(content: Content, node: Node | None, *, is_masked: bool) -> BodyView:
    """Return a body. `node`: its tree, in which personal values are hidden if `is_masked`."""
    if content.is_erased:
        return BodyView(content=content, pretty=None, raw=None, problem="The content was erased.")
    if content.raw is None:
        return BodyView(
            content=content, pretty=None, raw=None, problem="The body is too large to be shown: download it."
        )
    pretty = None if node is None else jsontree.pretty(node)
    if is_masked:
        problem = "This body is not JSON, so that all of it is hidden." if pretty is None else None
        return BodyView(
            content=content, pretty=_cut(pretty), raw=None, problem=problem, is_cut=len(pretty or "") > MAX_SHOWN
        )
    raw, is_text = _text(content.raw)
    is_cut = len(pretty or "") > MAX_SHOWN or len(content.raw) > (MAX_SHOWN if is_text else MAX_HEX)
    return BodyView(content=content, pretty=_cut(pretty), raw=raw, is_text=is_text, is_cut=is_cut)


def _text(raw: bytes) -> tuple[str, bool]:
    """Return the beginning of a body as text, or else as hexadecimal digits; and whether it is text."""
    part = excerpt(raw[:MAX_SHOWN], start=0, size=len(raw), offset=None)
    if not part.is_text:
        part = excerpt(raw[:MAX_HEX], start=0, size=len(raw), offset=None)
    return part.before, part.is_text


def _cut(text: str | None) -> str | None:
    return None if text is None else text[:MAX_SHOWN]
