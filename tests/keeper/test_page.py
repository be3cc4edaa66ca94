"""The page in a real browser: both widths, both colour schemes, hostile texts, a keeper that dies.

Needs a Chromium (Debian: ``apt-get install chromium``); ``test_page_structure.py`` needs none.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from risk.keeper.monitor import Monitor
from risk.keeper.monitor.terminal import clean
from risk.keeper.snapshot import BucketLine, Snapshot
from tests.keeper.monitor_browser import Browser, find
from tests.keeper.monitor_scene import HOSTILE, busy, hostile, quiet, sweep

CHROMIUM = find()
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")
OFTEN = "/?every=0.1"
LOADED = "!document.getElementById('all').hidden"
SHOWN = "document.getElementById('words').textContent"

# Contrast of every piece of visible text against what lies behind it (WCAG 2.1, 1.4.3).
CONTRAST = """
(() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgba = c => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = c;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const linear = v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = c => 0.2126 * linear(c[0]) + 0.7152 * linear(c[1]) + 0.0722 * linear(c[2]);
  const behind = e => {
    for (; e; e = e.parentElement) {
      const c = rgba(getComputedStyle(e).backgroundColor);
      if (c[3] === 255) return c;
    }
    return [255, 255, 255];
  };
  const bad = [], unseen = ['SCRIPT', 'STYLE', 'NOSCRIPT'];
  let seen = 0;
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let n; n = walk.nextNode();) {
    const e = n.parentElement;
    if (!n.textContent.trim() || !e.checkVisibility() || unseen.includes(e.tagName)) continue;
    seen++;
    const a = light(rgba(getComputedStyle(e).color)), b = light(behind(e));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) bad.push(n.textContent.trim().slice(0, 30) + ' ' + ratio.toFixed(2));
  }
  return {seen, bad};
})()
"""
# Elements whose right edge the window cuts off, scrolling tables apart.
CUT = """
[...document.querySelectorAll('body *')].filter(e => e.checkVisibility() && !e.closest('.scroll')
  && e.getBoundingClientRect().left > -100 && e.getBoundingClientRect().right > innerWidth + 1)
  .map(e => e.tagName + '#' + e.id + '.' + e.className)
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert CHROMIUM is not None
    with Browser(CHROMIUM) as opened:
        yield opened


@pytest.fixture
def monitor() -> Iterator[Monitor]:
    made = Monitor()
    made.start()
    yield made
    made.close()


def show(browser: Browser, monitor: Monitor, snapshot: Snapshot, **at: Any) -> None:
    monitor.seen(snapshot, at.pop("sweep", None))
    browser.look(at.pop("width", 1440), **at)
    browser.open(monitor.address + OFTEN)
    browser.until(LOADED)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [375, 1440])
def test_fits_and_can_be_read(browser: Browser, monitor: Monitor, width: int, dark: bool) -> None:
    swept = sweep(warned=(1, 2), unhealthy=(3,))
    show(browser, monitor, busy(), sweep=swept, width=width, dark=dark)
    assert browser.js("document.documentElement.scrollWidth") <= width
    assert browser.js(CUT) == []
    if width == 375:  # tables became cards: nothing to scroll sideways
        tables = (
            "[...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth)"
        )
        assert browser.js(f"{tables}.length") == 0
    contrast = browser.js(CONTRAST)
    assert contrast["seen"] > 150
    assert contrast["bad"] == []
    ground = browser.js("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, ground[4:-1].split(","))) < 200) == dark
    assert browser.complaints == []


def test_shows_what_the_keeper_says(browser: Browser, monitor: Monitor) -> None:
    s = busy()
    show(browser, monitor, s, sweep=sweep(warned=(1, 2), unhealthy=(3,)))
    text = browser.js("document.body.innerText")
    assert browser.js(SHOWN) == "Following the chain."
    tiles = browser.js(
        "Object.fromEntries([...document.querySelectorAll('#tiles > div')].map("
        "d => [d.querySelector('dt').textContent, d.querySelector('dd').firstChild.textContent]))"
    )
    assert tiles == {
        "Head": "21000000",
        "Accounts": "50,213",
        "Unhealthy": "9",
        "Unknown": "3",
        "Warned": "12",
        "Healthy": "50,189",
        "Planned now": "3",
        "Balance": "2.3456",
    }
    bars = browser.js(
        "[...document.querySelectorAll('#bars li')].map(l => [l.children[0].textContent,"
        " l.children[1].getBoundingClientRect().width, l.children[2].textContent])"
    )
    assert [b[2] for b in bars] == [f"{b.count:,}" for b in s.histogram]
    widths = [b[1] for b in bars]
    assert bars[0][0] == "below 0" and bars[4][0] == "0.9 – 1" and bars[-1][0] == "5 and more"
    assert widths[4] == 0 and all(w > 0 for i, w in enumerate(widths) if i != 4)
    assert max(widths) == widths[10]
    first = browser.js(
        "[...document.querySelector('#accounts tr').children].map(c => c.textContent)"
    )
    e = s.endangered[0]
    assert first == [
        f"{e.account[:42]}:{int(e.account[42:], 16)}",
        "unhealthy",
        "0.7000",
        f"{e.equity_wad // 10**16 / 100:,.2f}",
        f"{e.mm_wad // 10**16 / 100:,.2f}",
        f"{e.im_wad // 10**16 / 100:,.2f}",
        "scenario 7",
        "own margin is too small",
        "block 21000000",
    ]
    assert "3 made. No webhook is configured." in text
    assert browser.js("document.querySelectorAll('#calls li').length") == 3
    for words in ("HTTP 429", "61 gwei", "12.346 gwei", "−29.00", "71,200.33", "at block 20999900"):
        assert words in text, words


def test_a_factor_just_below_one_is_not_rounded_up(browser: Browser, monitor: Monitor) -> None:
    s = busy()
    near = replace(s.endangered[0], health_factor=1 - 1e-12)
    show(browser, monitor, replace(s, endangered=(near,)))
    assert browser.js("document.querySelector('#accounts tr').children[2].textContent") == "0.9999"


def test_amounts_keep_every_digit(browser: Browser, monitor: Monitor) -> None:
    s = busy()
    huge = replace(s.endangered[0], equity_wad=-(2**90) * 10**18 - 10**16, mm_wad=1)
    show(browser, monitor, replace(s, endangered=(huge,)))
    cells = browser.js("[...document.querySelector('#accounts tr').children].map(c=>c.textContent)")
    assert cells[3] == f"−{2**90:,}.01"
    assert cells[4] == "0.00"


def test_find_and_show_all(browser: Browser, monitor: Monitor) -> None:
    show(browser, monitor, busy())
    rows = "document.querySelectorAll('#accounts tr').length"
    assert browser.js(rows) == 15
    browser.js("document.getElementById('more').click()")
    assert browser.js(rows) == 24
    browser.js(
        "(e => { e.value = 'scenario 31'; e.dispatchEvent(new Event('input')); })"
        "(document.getElementById('find'))"
    )
    assert browser.js(rows) == 6
    assert browser.js("document.getElementById('found').textContent") == "6 of 24 shown"


@pytest.mark.parametrize("width", [375, 1440])
def test_no_text_becomes_html(browser: Browser, monitor: Monitor, width: int) -> None:
    monitor.seen(quiet(), None)
    browser.look(width)
    browser.open(monitor.address + OFTEN)
    browser.until(LOADED)
    tags = "[...document.querySelectorAll('script,img,iframe,b,link,[onerror],[href]')].length"
    before = browser.js(tags)
    monitor.seen(hostile(), None)
    browser.until("document.querySelectorAll('#accounts tr').length === 2")
    browser.js("new Promise(done => setTimeout(done, 100))")  # a broken image would report now
    assert browser.js(tags) == before
    assert browser.js("typeof window.pwned") == "undefined"
    assert "pwned" not in browser.js("document.title")
    texts = browser.js("[...document.querySelectorAll('#errors span')].map(e => e.textContent)")
    assert clean(HOSTILE) in texts and clean(HOSTILE) != HOSTILE
    for place in ("what", "words", "accounts", "buckets", "facts", "nonces", "counters", "errors"):
        assert "<img src=x" in browser.js(f"document.getElementById('{place}').textContent"), place
    assert browser.js("document.documentElement.scrollWidth") <= width
    assert browser.complaints == []


@pytest.mark.parametrize("name", ["constructor", "__proto__", "toString"])
def test_a_name_that_every_object_has(browser: Browser, monitor: Monitor, name: str) -> None:
    s = busy()
    odd = replace(s.endangered[0], status=name, bucket=name, note="")
    buckets = {name: BucketLine(7)}
    show(browser, monitor, replace(s, endangered=(odd,), buckets=buckets, counters={name: 3}))
    cells = browser.js("[...document.querySelector('#accounts tr').children].map(c=>c.textContent)")
    assert (cells[1], cells[7]) == (name, name)
    assert browser.js("document.querySelector('#buckets td').textContent") == name
    assert browser.complaints == []


def test_even_a_mistake_in_the_page_could_not_run_a_text(
    browser: Browser, monitor: Monitor
) -> None:
    show(browser, monitor, quiet())
    refused = browser.js(
        "(() => { try { document.body.innerHTML += '<b>x</b>'; return ''; }"
        " catch (e) { return e.name; } })()"
    )
    assert refused == "TypeError"  # Trusted Types
    browser.js(
        "(() => { const i = document.createElement('img');"
        " i.src = 'http://192.0.2.1/x'; document.body.append(i); })()"
    )
    fetched = browser.js("fetch('http://192.0.2.1/').then(() => 'sent', e => e.name)")
    assert fetched == "TypeError"
    assert any("Content Security Policy" in c for c in browser.complaints)


def state(browser: Browser) -> tuple[str, bool]:
    return browser.js("document.getElementById('state').className"), browser.js(
        "document.getElementById('content').classList.contains('old')"
    )


@pytest.mark.parametrize(
    ("change", "words", "look"),
    [
        ({"live": False}, "Following the chain. Dry run: nothing is signed.", ("ok", False)),
        (
            {"suspended": "two endpoints disagree"},
            "Nothing is sent now: two endpoints disagree",
            ("warn", False),
        ),
        (
            {"stopped": "exit 10: divergence"},
            "The keeper has stopped: exit 10: divergence",
            ("bad", True),
        ),
        (
            {"head_seen": time.time() - 500},
            "Stale: no trusted head within 60 s. What is shown is old.",
            ("bad", True),
        ),
        ({"head": None, "head_seen": 0.0}, "The keeper has no head yet.", ("bad", True)),
    ],
    ids=["dry", "suspended", "stopped", "stale", "no head"],
)
def test_says_plainly_what_is_wrong(
    browser: Browser,
    monitor: Monitor,
    change: dict[str, Any],
    words: str,
    look: tuple[str, bool],
) -> None:
    show(browser, monitor, replace(busy(), **change))
    assert browser.js(SHOWN) == words
    assert state(browser) == look
    assert browser.js("document.title").startswith("(!)") == look[1]
    if look[0] == "bad" and "head" not in change:
        assert browser.js("document.getElementById('age').textContent").startswith("block 21000000")
    assert browser.complaints == []


def test_goes_stale_by_its_own_clock(browser: Browser, monitor: Monitor) -> None:
    """The keeper's answers stop coming in time, but nothing refuses: the page still notices."""
    s = replace(busy(), stale_seconds=1.0, head_seen=time.time())
    show(browser, monitor, s)
    browser.js("window.fetch = () => new Promise(() => 0)")  # from now on no answer ever comes
    browser.until(f"{SHOWN}.startsWith('Stale')")
    assert state(browser) == ("bad", True)


def test_the_keeper_dies_and_comes_back(browser: Browser) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    first = Monitor(port=port)
    first.start()
    show(browser, first, busy())
    first.close()
    browser.until(f"{SHOWN} === 'The keeper does not answer. What is shown is old.'")
    assert state(browser) == ("bad", True)
    assert browser.js("document.querySelectorAll('#accounts tr').length") == 15
    second = Monitor(port=port)
    second.start()
    try:
        browser.until(f"{SHOWN} === 'The keeper is starting: it has no head yet.'")
        assert browser.js("document.getElementById('all').hidden")
        second.seen(quiet(), None)
        browser.until(f"{SHOWN}.startsWith('Following the chain.')")
        assert state(browser) == ("ok", False)
    finally:
        second.close()


def test_an_answer_that_cannot_be_read(browser: Browser, monitor: Monitor) -> None:
    show(browser, monitor, busy())
    broken = json.dumps('{"version":1,"head":')
    browser.js(f"window.fetch = async () => new Response({broken})")
    browser.until(f"{SHOWN}.startsWith('The keeper\\'s answer cannot be read.')")
    assert state(browser) == ("bad", True)
    browser.js("window.fetch = async () => new Response('{\"version\":2}')")
    browser.until(f"{SHOWN}.startsWith('This page is of another version')")


def test_what_somebody_selects_stays_while_nothing_changes(
    browser: Browser, monitor: Monitor
) -> None:
    show(browser, monitor, busy())
    browser.js("document.querySelector('#accounts tr').dataset.mark = 'same'")
    asked = browser.js("performance.getEntriesByType('resource').length")
    browser.until(f"performance.getEntriesByType('resource').length >= {asked} + 2")
    assert browser.js("document.querySelector('#accounts tr').dataset.mark") == "same"


def test_a_screen_reader_finds_its_way(browser: Browser, monitor: Monitor) -> None:
    show(browser, monitor, busy(), width=375)
    tree = browser.call("Accessibility.getFullAXTree")["nodes"]
    nodes = [
        (n["role"]["value"], n.get("name", {}).get("value", "")) for n in tree if not n["ignored"]
    ]
    names = {role: [name for r, name in nodes if r == role] for role, _ in nodes}
    assert names["heading"][0] == "Plumbline keeper"
    assert "Most endangered accounts" in names["heading"]
    assert names["searchbox"] == ["Find"]
    assert len(names["status"]) == 2
    assert names["main"] and names["link"] == ["To the accounts"]
    # cards on a narrow screen are still a table with heads
    assert {"Account", "State", "E / MM", "Bound by"} <= set(names["columnheader"])
    assert len(names["row"]) >= 15
    assert all(names["region"])
