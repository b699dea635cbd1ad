"""What holds for every page: it keeps its own rules, is small, and can be used by everybody who has to."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from tests.browser.addresses import EXAMPLES, PAGES
from tests.browser.conftest import Console
from tests.support.browser import NARROW, WIDE, Opened
from tests.support.hostile import MARK

MOST_REQUESTS = 5
MOST_BYTES = 60_000
"""Of a page, and of all assets, as they are sent."""
SMALLEST = 24
"""Pixels of the shorter side of a control, by WCAG 2.2."""
IN_COLOURS = ("color-contrast", "link-in-text-block")
"""Rules of axe whose answer depends on the colours."""

DIRTY = f"""() => [
  ...document.querySelectorAll('.{MARK}, img, iframe, object, embed, a[href^="javascript:" i]')
].map((node) => node.outerHTML.slice(0, 200)).concat('{MARK}' in window ? ['a script has run'] : [])"""
"""What a hostile text has made."""
WIDER = """() => document.documentElement.scrollWidth - document.documentElement.clientWidth"""
"""By how many pixels the page scrolls sideways."""
SMALL = f"""() => [...document.querySelectorAll(
  'button, input:not([type=hidden]), select, textarea, summary, .button, nav a, tbody th a')
].filter((node) => {{
  const box = node.getBoundingClientRect();
  return box.width > 0 && (box.width < {SMALLEST} || box.height < {SMALLEST}) && node.checkVisibility();
}}).map((node) => `${{node.outerHTML.slice(0, 120)}} ${{JSON.stringify(node.getBoundingClientRect())}}`)"""
STATUSES = """() => [...document.querySelectorAll('.status')].map((node) => ({
  word: node.textContent.trim() || node.title,
  shape: getComputedStyle(node, '::before').content,
  kind: [...node.classList].filter((name) => !['status', 'dot'].includes(name)).join(' '),
}))"""
FOCUSABLE = """() => {
  Object.defineProperty(document, 'hidden', { configurable: true, get: () => true });  // so that nothing is refreshed
  window.walk?.abort();
  window.walk = new AbortController();
  const nodes = window.nodes = [...document.querySelectorAll(
    'a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex]:not([tabindex="-1"])')
  ].filter((node) => node.checkVisibility({ visibilityProperty: true }) && !node.disabled);
  window.reached = [];
  nodes[0].focus();
  addEventListener('focusin', ({ target }) => {
    const style = getComputedStyle(target);
    window.reached.push([nodes.indexOf(target), style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2]);
  }, { signal: window.walk.signal });
  return nodes.map((node) => node.outerHTML.slice(0, 120));
}"""


def test_every_page_has_an_example() -> None:
    assert sorted(EXAMPLES) == PAGES


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_can_be_used_by_everybody(full: Console, axe: str, path: str) -> None:
    async def problems_of(address: str, *, is_first: bool) -> list[str]:
        async with full.site.opened(address, full.window(path)) as opened:
            problems = await _problems(opened, axe)
            return problems + (await _first_problems(opened, axe) if is_first else [])

    await _check_all(EXAMPLES[path](full.seeds), problems_of)


@pytest.mark.parametrize("path", PAGES)
async def test_hostile_texts_stay_texts(full: Console, path: str) -> None:
    async def problems_of(address: str, *, is_first: bool) -> list[str]:
        async with full.site.opened(address, full.window(path)) as opened:
            return [*await opened.misdeeds(), *await opened.page.evaluate(DIRTY), *await _widths(opened)]

    await _check_all(EXAMPLES[path](full.hostile), problems_of)


async def _check_all(addresses: Sequence[str], problems_of: Callable[..., Awaitable[list[str]]]) -> None:
    problems = await asyncio.gather(*[problems_of(address, is_first=not n) for n, address in enumerate(addresses)])
    lines = [f"{addresses[n][:200]}: {line}" for n, several in enumerate(problems) for line in several]
    assert not lines, "\n".join(lines)


async def _problems(opened: Opened, axe: str) -> list[str]:
    """Return what keeps a page from being used, or from being used by everybody."""
    sent, assets = await opened.sizes()
    return [
        *await opened.misdeeds(),
        *_above(MOST_REQUESTS, requests=len(opened.requests)),
        *_above(MOST_BYTES, bytes_of_the_page=sent, bytes_of_assets=assets),
        *await _statuses(opened),
        *await opened.audit(axe),
        *await _widths(opened),
    ]


async def _first_problems(opened: Opened, axe: str) -> list[str]:
    """Return what depends on the kind of the page and not on what it lists: its colours, and the keyboard."""
    page = opened.page
    problems = []
    await page.emulate_media(color_scheme="dark")
    problems += [f"in the dark: {text}" for text in await opened.audit(axe, only=IN_COLOURS)]
    await page.emulate_media(color_scheme="light", forced_colors="active")
    problems += [f"in forced colours: {text}" for text in await opened.audit(axe, only=IN_COLOURS)]
    await page.emulate_media(forced_colors="none")
    return problems + await _keyboard(opened)


def _above(most: int, **counts: int) -> list[str]:
    return [f"{name.replace('_', ' ')}: {count}" for name, count in counts.items() if count > most]


async def _statuses(opened: Opened) -> list[str]:
    """Return statuses that only a colour tells apart."""
    shapes: dict[str, str] = {}
    problems = []
    for status in await opened.page.evaluate(STATUSES):
        if not status["word"] or status["shape"] in ("none", "normal", '""'):
            problems.append(f"a status has no word or no shape: {status}")
        shapes[status["kind"]] = status["shape"]
    if len(set(shapes.values())) < len(shapes):
        problems.append(f"statuses look alike without their colours: {shapes}")
    return problems


async def _widths(opened: Opened) -> list[str]:
    problems = []
    for width in (WIDE, NARROW):
        await opened.page.set_viewport_size({"width": width, "height": 800})
        if (wider := await opened.page.evaluate(WIDER)) > 0:
            problems.append(f"scrolls sideways by {wider} px in a window of {width} px")
    problems += [f"has a small target: {text}" for text in (await opened.page.evaluate(SMALL))[:5]]
    await opened.page.set_viewport_size({"width": WIDE, "height": 800})
    return problems


async def _keyboard(opened: Opened) -> list[str]:
    """Return what Tab does not reach, or reaches out of order or invisibly."""
    are_there = False
    while not are_there:  # a refresh that was under way may replace some once
        nodes = await opened.page.evaluate(FOCUSABLE)
        for _ in nodes[1:]:
            await opened.page.keyboard.press("Tab")
        are_there = await opened.page.evaluate("window.nodes.every((node) => node.isConnected)")
    reached = [(place, visible) for place, visible in await opened.page.evaluate("window.reached") if place >= 0]
    places = [place for place, _ in reached]
    problems = [f"the focus cannot be seen on {nodes[place]}" for place, visible in reached if not visible][:3]
    if places != sorted(places):
        problems.append("Tab does not follow the order of reading")
    return (
        problems + [f"Tab does not reach {node}" for place, node in enumerate(nodes) if place not in {0, *places}][:3]
    )
