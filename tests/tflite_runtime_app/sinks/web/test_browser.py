"""The page in a real browser, at a phone's size: what is drawn, what stays text, what a click does, and what the console says."""

import time
from collections.abc import Iterator

import pytest

from tests.tflite_runtime_app.sinks.web import web_client
from tests.tflite_runtime_app.sinks.web.web_browser import MISSING, Browser, find_chromium
from tests.tflite_runtime_app.sinks.web.web_client import served
from tflite_runtime_app.errors import LabelError
from tflite_runtime_app.sinks.base import Failure

if find_chromium() is None:
    pytest.skip(MISSING, allow_module_level=True)

EVIL = "<img src=x onerror=\"document.body.dataset.hacked='yes'\">"
TEXTS = "[...document.querySelectorAll('{}')].map(e => e.textContent)"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def browser(chromium: Browser) -> Iterator[Browser]:
    chromium.size(390, 844)
    chromium.scheme("light")
    chromium.complaints.clear()
    yield chromium
    chromium.open("about:blank")


def text(browser: Browser, place: str) -> str:
    return browser.look(f"document.querySelector('{place}').textContent")


def fill(sink, frames: int = 30, **changes) -> None:
    for frame in range(frames):
        options = {"exit": frame % 3, "ms": 10.0 + frame % 5, "image": web_client.noise(seed=frame), **changes}
        sink.result(web_client.result(frame, **options))
    sink.status(web_client.status(celsius=55.5, restarts=1, dropped=4))


def test_everything_is_drawn_without_a_complaint_of_the_browser(browser):
    with served() as page:
        fill(page.sink)
        browser.open(page.sink.url)
        assert browser.wait("document.body.dataset.picture") == "64x48"
        assert browser.look(TEXTS.format("#bars bdi")) == list(web_client.NAMES)
        assert browser.look(TEXTS.format("#bars .number")) == ["50 %", "25 %", "13 %"]
        widths = browser.look("[...document.querySelectorAll('#bars .fill')].map(e => e.style.width)")
        assert widths == ["50%", "25%", "12.5%"]
        assert browser.look(TEXTS.format("#exits bdi")) == ["after block 4 of 12", "after block 8 of 12", "full depth, block 12"]
        assert browser.look(TEXTS.format("#exits .number")) == ["33 % (33 %)"] * 3
        assert browser.look("document.querySelector('#exits .now bdi').textContent") == "full depth, block 12"
        points = browser.look("document.querySelector('#ms polyline').getAttribute('points')").split()
        assert len(points) == 30
        assert points[-1].startswith("240.0,")
        assert browser.look("document.querySelector('#celsius polyline') !== null")
        assert text(browser, "#ms-note") == "14.0 ms now · median 12.0 ms · 90 % ≤ 14.0 ms"
        assert text(browser, "#headline") == "cat"
        assert text(browser, "#chip") == "live · 10.0 fps"
        assert "source restarted1 time" in text(browser, "#health")
        assert browser.look("document.getElementById('labels-text').value") == "\n".join(web_client.NAMES)
        assert browser.look("document.documentElement.scrollWidth") == 390  # nothing sticks out of a phone
        page.sink.result(web_client.result(31, image=web_client.noise(80, 60)))  # and it follows
        browser.wait("document.body.dataset.picture === '80x60'")
    assert browser.complaints == []


def test_a_label_that_looks_like_html_stays_text(browser):
    names = (EVIL, "</script><script>document.body.dataset.hacked='yes'</script>", "\u202eabc & <b>")
    with served(names=names, title=EVIL) as page:
        fill(page.sink, names=names, steady=EVIL)
        page.sink.failure(Failure(EVIL, 0, EVIL))
        page.sink.labels(names, EVIL)
        browser.open(page.sink.url)
        browser.wait("document.body.dataset.picture")
        assert browser.look(TEXTS.format("#bars bdi")) == list(names)
        assert text(browser, "#title") == text(browser, "#headline") == EVIL
        browser.wait("document.getElementById('labels-told').textContent !== ''")
        assert EVIL in text(browser, "#trouble")
        assert browser.look("document.querySelectorAll('img').length") == 1
        assert browser.look("document.body.dataset.hacked === undefined")
    assert browser.complaints == []


def test_an_injected_script_is_stopped_by_the_policy(browser):
    with served() as page:
        browser.open(page.sink.url)
        browser.wait("document.getElementById('chip').textContent === 'waiting for an image'")
        browser.look("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"document.body.dataset.hacked=1\">')")
        browser.look("fetch('http://127.0.0.1:9/').catch(() => {})")
        time.sleep(0.3)
        assert browser.look("document.body.dataset.hacked === undefined")
    assert any("Content Security Policy" in line for line in browser.complaints)


def test_the_labels_are_changed_by_typing_and_clicking(browser):
    with served() as page:
        fill(page.sink)
        browser.open(page.sink.url)
        browser.wait("document.getElementById('labels-text').value !== ''")
        browser.type("#labels-text", f"newt, {EVIL}")
        page.sink.labels(("otter",), "")  # from elsewhere meanwhile: what is being typed stays
        browser.wait("document.getElementById('labels-count').textContent === '1 in use.'")
        assert browser.look("document.getElementById('labels-text').value") == f"newt, {EVIL}"
        browser.click("#labels-use")
        browser.wait("document.getElementById('labels-told').textContent === '2 labels are in use.'")
        assert page.asked == [f"newt\n{EVIL}"]
        browser.wait("document.getElementById('labels-text').value.split('\\n').length === 2")
        page.sink.result(web_client.result(31, names=("newt", EVIL)))
        browser.wait("document.querySelector('#bars bdi').textContent === 'newt'")
        assert browser.look(TEXTS.format("#bars bdi")) == ["newt", EVIL]
        browser.type("#labels-text", "something else")
        browser.click("#labels-back")
        assert browser.look("document.getElementById('labels-text').value") == f"newt\n{EVIL}"
        assert browser.look("document.body.dataset.hacked === undefined")
    assert browser.complaints == []


def test_a_refused_change_says_why_and_keeps_what_was_typed(browser):
    def change(asked: str) -> str:
        raise LabelError("these labels need the text tower, which is not beside the bundle; copy it there")

    with served(change) as page:
        browser.open(page.sink.url)
        browser.wait("document.getElementById('labels-text').value !== ''")
        browser.type("#labels-text", "a red mug")
        browser.click("#labels-use")
        browser.wait("document.getElementById('labels-told').textContent.startsWith('these labels need the text tower')")
        assert browser.look("document.getElementById('labels-told').className") == "note bad"
        assert browser.look("document.getElementById('labels-text').value") == "a red mug"
        assert not browser.look("document.getElementById('labels-use').disabled")


def test_waiting_stalled_none_and_unsettled_are_said_in_words(browser):
    with served() as page:
        browser.open(page.sink.url)
        browser.wait("document.getElementById('chip').textContent === 'waiting for an image'")
        assert browser.look("document.getElementById('no-picture').checkVisibility()")
        fill(page.sink, none=True)
        browser.wait("document.getElementById('headline').textContent === 'none of these'")
        assert text(browser, "#headline-note") == "cat is closest, and too far away to be believed"
        assert browser.look("document.querySelector('#bars .now') === null")
        fill(page.sink, none=True, like="fountain")
        browser.wait("document.getElementById('headline-note').textContent.startsWith('looks like fountain')")
        fill(page.sink, best=0.4)
        browser.wait("document.getElementById('headline-note').textContent.startsWith('not sure')")
        fill(page.sink, steady="")
        browser.wait("document.getElementById('headline').textContent === 'not settled yet'")
        fill(page.sink, steady="dog")
        browser.wait("document.getElementById('headline').textContent === 'dog'")
        page.sink.status(web_client.status("stalled", age=7.2, error="rpicam-vid ended with code 255"))
        browser.wait("document.getElementById('chip').textContent.startsWith('stalled for ')")
        assert text(browser, "#trouble").endswith("s ago: rpicam-vid ended with code 255")
        assert text(browser, "#spoken").startswith("stalled for ")
        page.sink.status(web_client.status("ended"))
        browser.wait("document.getElementById('chip').textContent === 'source ended'")


def test_a_lost_connection_is_said_and_comes_back_by_itself(browser):
    with served() as page:
        fill(page.sink)
        port = page.port
        browser.open(page.sink.url)
        browser.wait("document.getElementById('chip').textContent.startsWith('live')")
    browser.wait("document.getElementById('chip').textContent === 'connection lost'")
    assert "trying again" in text(browser, "#trouble")
    with served(names=("otter",), title="anew", port=port) as again:
        fill(again.sink, 3, names=("otter",))
        browser.wait("document.getElementById('chip').textContent.startsWith('live')")
        browser.wait("document.getElementById('labels-text').value === 'otter'")
        assert text(browser, "#title") == "anew"
        browser.wait("!document.body.classList.contains('lost') && document.getElementById('trouble').hidden")


def test_a_hidden_page_asks_for_nothing(browser):
    with served() as page:
        browser.open(page.sink.url)
        browser.wait("document.getElementById('chip').textContent === 'waiting for an image'")
        # The headless browser never hides a page, so the page is told that it is.
        browser.look(
            "Object.defineProperty(document, 'hidden', {get: () => window.away, configurable: true}); window.away = true"
        )
        time.sleep(0.8)
        asked = browser.look("performance.getEntriesByType('resource').length")
        fill(page.sink)
        time.sleep(1.2)
        assert browser.look("performance.getEntriesByType('resource').length") == asked
        browser.look("window.away = false; document.dispatchEvent(new Event('visibilitychange'))")
        browser.wait("document.body.dataset.picture")


def test_the_token_in_the_address_lets_the_browser_in_and_is_gone_from_it(browser):
    with served(token="a-good-token-of-24-chars") as page:
        browser.open(f"http://127.0.0.1:{page.port}/")
        browser.wait("document.body.innerText.includes('needs the token of this run')")
        browser.complaints.clear()
        fill(page.sink)
        browser.open(page.sink.url)
        browser.wait("document.body.dataset.picture")
        assert browser.look("location.href") == f"http://127.0.0.1:{page.port}/"
        assert browser.look("document.cookie") == ""  # scripts do not see it
        browser.wait("document.getElementById('labels-text').value !== ''")
        browser.type("#labels-text", "newt")
        browser.click("#labels-use")
        browser.wait("document.getElementById('labels-told').textContent === '1 labels are in use.'")
    # The refused page has no icon of its own, and the browser may ask for the usual one as late as here.
    assert [line for line in browser.complaints if "favicon.ico" not in line] == []


def test_nothing_moves_while_it_runs_and_fields_have_names(browser):
    with served() as page:
        fill(page.sink)
        browser.open(page.sink.url)
        browser.wait("document.body.dataset.picture")
        browser.look(
            "window.moved = 0; new PerformanceObserver(list => { for (const e of list.getEntries()) window.moved += e.value; })"
            ".observe({type: 'layout-shift'})"
        )
        for frame in range(12):
            ms, exit = 10.0 ** (frame % 4), frame % 3
            page.sink.result(
                web_client.result(frame, exit, ms=ms, none=frame % 2 == 0, image=web_client.noise(64, 20 + 9 * frame))
            )
            page.sink.status(
                web_client.status("stalled" if frame % 3 == 0 else "live", celsius=50.0, error="gone" if frame % 4 == 0 else "")
            )
            time.sleep(0.2)
        assert browser.look("window.moved") < 0.01
        tree = browser.call("Accessibility.getFullAXTree")["nodes"]
        named = {(node["role"]["value"], node.get("name", {}).get("value", "")) for node in tree if not node["ignored"]}
        assert all(name for role, name in named if role in ("button", "textbox", "image", "region", "heading")), named
        assert {name for role, name in named if role == "button"} == {"Use these labels", "Put back"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_their_ground(browser, scheme):
    """WCAG's contrast of every text with what is behind it: at least 4.5."""
    browser.scheme(scheme)
    with served() as page:
        fill(page.sink, none=True)
        page.sink.status(web_client.status("stalled", age=9.0, error="no frame came"))
        browser.open(page.sink.url)
        browser.wait("document.body.dataset.picture")
        worst, words = browser.look(CONTRAST)
    assert worst >= 4.5, words


CONTRAST = """(() => {
  const rgb = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => {
    const [r, g, b] = rgb(colour).map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if ((rgb(colour)[3] ?? 1) > 0) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const found = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!own || !node.checkVisibility() || node.disabled || node.closest("noscript")) continue;
    const [a, b] = [light(getComputedStyle(node).color), light(ground(node))].sort((x, y) => y - x);
    found.push([(a + 0.05) / (b + 0.05), node.textContent.trim()]);
  }
  return found.sort((x, y) => x[0] - y[0])[0];
})()"""
