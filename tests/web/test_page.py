"""The page, in a real browser. Skipped where there is none, or no playwright."""

import json
import shutil
import threading

import psutil
import pytest
import soundfile

from speechtools import SAMPLE, audio
from speechtools.web.analysis import Limits, Models
from speechtools.web.server import make_app

pytest.importorskip("gradio", reason="needs the extra web")
playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.skipif(BROWSER is None, reason="no Chromium: apt-get install chromium"),
    pytest.mark.timeout(240),
    pytest.mark.slow,
]
WAIT = 60_000  # ms


@pytest.fixture(scope="module")
def address():
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(make_app(Models(Limits())), port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    for _ in range(600):
        if server.started:
            break
        thread.join(timeout=0.1)
    (listening,) = server.servers[0].sockets
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join(timeout=20)


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        launched = started.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def page(browser, address):
    opened = browser.new_page(viewport={"width": 360, "height": 740})
    opened.outside = []
    is_local = address.removeprefix("http://"), "data:", "blob:"
    opened.on("request", lambda r: None if any(part in r.url for part in is_local) else opened.outside.append(r.url))
    opened.goto(address, timeout=WAIT)
    opened.get_by_role("tab", name="Quality").wait_for(timeout=WAIT)
    yield opened
    opened.close()


def drop(page, path, number=0):
    page.locator("input[type=file]").nth(number).set_input_files(str(path))


def score_of(page):
    page.locator("#score strong").wait_for(timeout=WAIT)
    return float(page.locator("#score strong").inner_text().split()[0])


def test_a_recording_is_scored_explained_and_downloaded(page):
    drop(page, SAMPLE)
    assert -0.5 < score_of(page) < 4.5
    page.get_by_role("img", name="Spectrogram").or_(page.locator("img")).first.wait_for(timeout=WAIT)
    regions = page.get_by_role("radio")
    regions.first.wait_for(timeout=WAIT)
    assert "costs" in page.locator("label", has=regions.first).inner_text()
    regions.last.focus()
    page.keyboard.press("Space")  # by keyboard
    page.get_by_label("The region").or_(page.get_by_text("The region")).first.wait_for(timeout=WAIT)
    with page.expect_download(timeout=WAIT) as download:
        page.get_by_text("Everything (JSON)").click()
    assert json.loads(download.value.path().read_text())["file"] == SAMPLE.name
    assert page.outside == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_a_broken_file_is_reported(page, tmp_path):
    (tmp_path / "broken.wav").write_text("a text")
    drop(page, tmp_path / "broken.wav")
    page.get_by_text("cannot be read as audio").first.wait_for(timeout=WAIT)
    page.reload()
    page.get_by_role("tab", name="Quality").wait_for(timeout=WAIT)
    drop(page, SAMPLE)
    score_of(page)


def test_two_users_at_once(browser, address, tmp_path):
    loud = audio.read(SAMPLE) * 0.0
    loud[8000:] = audio.read(SAMPLE)[8000:]
    soundfile.write(tmp_path / "other.wav", loud, 16000)
    pages = [browser.new_context().new_page() for _ in range(2)]
    for opened in pages:
        opened.goto(address, timeout=WAIT)
        opened.get_by_role("tab", name="Quality").wait_for(timeout=WAIT)
    drop(pages[0], SAMPLE)
    drop(pages[1], tmp_path / "other.wav")
    scores = [score_of(opened) for opened in pages]
    assert scores[0] != scores[1]
    for opened in pages:
        opened.close()


def test_memory_does_not_grow(page):
    process, sizes = psutil.Process(), []
    for number in range(12):
        page.reload()
        page.get_by_role("tab", name="Quality").wait_for(timeout=WAIT)
        drop(page, SAMPLE)
        score_of(page)
        if number in (5, 11):
            sizes.append(process.memory_info().rss)
    assert sizes[1] - sizes[0] < 60 * 2**20
