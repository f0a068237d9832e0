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
        launched = started.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-dev-shm-usage"])
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
    assert all("costs" in label for label in page.locator("label:has(input[type=radio])").all_inner_texts())
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


def open_tab(browser, address, name):
    opened = browser.new_page(viewport={"width": 1200, "height": 800})
    opened.goto(address, timeout=WAIT)
    opened.get_by_role("tab", name=name, exact=True).click(timeout=WAIT)
    return opened, opened.get_by_role("tabpanel").filter(visible=True)


def test_two_recordings_are_compared(browser, address):
    opened, panel = open_tab(browser, address, "Same voice?")
    panel.get_by_role("button", name="Compare the voices").click()
    opened.get_by_text("Two recordings are needed").first.wait_for(timeout=WAIT)
    for number in range(2):
        # The recording that was dropped first has a player instead of its input.
        panel.locator("input[type=file]").nth(0).set_input_files(str(SAMPLE))
        panel.locator("audio").nth(number).wait_for(state="attached", timeout=WAIT)
    panel.get_by_role("button", name="Compare the voices").click()
    panel.get_by_text("The same voice").wait_for(timeout=WAIT)
    opened.close()


def test_a_voice_is_enrolled_and_identified_for_its_user_alone(browser, address):
    opened, panel = open_tab(browser, address, "Voices")
    panel.get_by_label("Name").fill("Anna")
    panel.locator("input[type=file]").nth(0).set_input_files(str(SAMPLE))
    panel.get_by_text(SAMPLE.stem).first.wait_for(timeout=WAIT)
    panel.get_by_role("button", name="Enroll").click()
    panel.get_by_text("Enrolled: Anna").wait_for(timeout=WAIT)
    panel.locator("input[type=file]").last.set_input_files(str(SAMPLE))
    panel.locator("audio").first.wait_for(state="attached", timeout=WAIT)
    panel.get_by_role("button", name="Identify").click()
    panel.locator("strong", has_text="Anna").wait_for(timeout=WAIT)
    other, panel = open_tab(browser, address, "Voices")
    panel.locator("input[type=file]").last.set_input_files(str(SAMPLE))
    panel.locator("audio").first.wait_for(state="attached", timeout=WAIT)
    panel.get_by_role("button", name="Identify").click()
    other.get_by_text("No voice is enrolled").first.wait_for(timeout=WAIT)
    opened.close()
    other.close()


@pytest.mark.parametrize(
    ("tab", "button", "expected"),
    [("Who speaks when", "Find the speakers", "speaker"), ("Enhance", "Enhance", "before")],
)
def test_speakers_are_found_and_speech_is_enhanced(browser, address, tab, button, expected):
    opened, panel = open_tab(browser, address, tab)
    panel.locator("input[type=file]").set_input_files(str(SAMPLE))
    panel.locator("audio").first.wait_for(state="attached", timeout=WAIT)
    panel.get_by_role("button", name=button).click()
    panel.locator("strong", has_text=expected).wait_for(timeout=WAIT)
    opened.close()


@pytest.mark.timeout(900)
def test_memory_does_not_grow_over_a_hundred_uploads(page):
    process, sizes = psutil.Process(), []
    for number in range(100):
        drop(page, SAMPLE)
        score_of(page)
        page.get_by_label("Clear", exact=True).first.click()
        page.locator("#score strong").wait_for(state="hidden", timeout=WAIT)
        if number in (39, 99):
            sizes.append(process.memory_info().rss)
    assert sizes[1] - sizes[0] < 60 * 2**20
