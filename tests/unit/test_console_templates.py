"""The console's templates, read rather than rendered: nothing in them needs more than the policy of content permits."""

import re

import pytest
from jinja2 import meta, nodes

from ingress.console import render

NAMES = render.environment().list_templates()
FORBIDDEN = {
    "a script without src": r"<script\b(?![^>]*\bsrc=)",
    "a style in place": r"<style\b|\sstyle\s*=",
    "an event handler": r"""\son[a-z]+\s*=""",
    "text that is not escaped": r"\|\s*safe\b|autoescape\s+false|Markup",
    "an address that runs": r"(?:javascript|data|vbscript):",
    "something from another site": r"""(?:src|href|action)\s*=\s*["']?(?:https?:)?//""",
    "a base": r"<base\b",
    "a frame or an object": r"<(?:i?frame|object|embed|applet)\b",
    "an attribute without quotes": r"""<[a-z](?:"[^"]*"|[^>"{}])*\s[a-z-]+=\{\{""",
}


def source(name: str) -> str:
    loader = render.environment().loader
    assert loader is not None
    return loader.get_source(render.environment(), name)[0]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("what", FORBIDDEN)
def test_a_template_holds_nothing_that_the_policy_forbids(what: str, name: str) -> None:
    text = re.sub(r"\{#.*?#\}", "", source(name), flags=re.DOTALL)
    assert re.findall(FORBIDDEN[what], text, re.IGNORECASE) == []


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("a script without src", '<script type="module">alert(1)</script>'),
        ("a style in place", '<p style="color: red">'),
        ("an event handler", '<img onerror="x()">'),
        ("text that is not escaped", "{{ view.body | safe }}"),
        ("an address that runs", '<a href="javascript:x()">'),
        ("something from another site", '<link href="//cdn.example/x.css">'),
        ("an attribute without quotes", "<a class=x href={{ view.url }}>"),
    ],
)
def test_what_is_forbidden_would_be_noticed(what: str, text: str) -> None:
    assert re.search(FORBIDDEN[what], text, re.IGNORECASE)


@pytest.mark.parametrize("name", NAMES)
def test_a_template_compiles_and_uses_filters_that_exist(name: str) -> None:
    environment = render.environment()
    environment.get_template(name)
    tree = environment.parse(source(name))
    assert {node.name for node in tree.find_all(nodes.Filter)} - environment.filters.keys() == set()
    assert set(meta.find_referenced_templates(tree)) <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_form_that_is_sent_leads_to_an_action(name: str) -> None:
    """One without an address would be sent to the page that it stands on."""
    for form in re.findall(r"<form\b[^>]*>", source(name)):
        if 'method="post"' in form:
            assert re.search(r'\saction="(?:/console/|\{\{)', form), form
            assert "enctype" not in form


def test_every_asset_is_named_by_a_template_or_by_the_script() -> None:
    texts = "".join(source(name) for name in NAMES)
    for name in re.findall(r"asset\('([^']+)'\)", texts):
        assert name in render.assets() or f"has_asset('{name}')" in texts, name
