"""In a real Chromium: submit from the form, watch the curve move, cancel, resume, finish; keys."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Route, expect
from tests.unit.service.services import Served, make_service_store, start_server

from .browsing import NARROW, WIDE, Browsing, browsing

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

SLOW_MS = 90_000


@pytest.fixture(scope="module")
def shots() -> Path:
    return Path(__file__).parent / "shots"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("service")
    make_service_store(root)
    words = ["--store-root", str(root), "--gpus", "none"]
    with start_server(root / "service", *words) as served:
        yield served


@pytest.fixture
def story(served: Served, shots: Path) -> Iterator[Browsing]:
    with browsing(f"http://127.0.0.1:{served.port}", shots) as story:
        yield story


def submit(story: Browsing, name: str, epochs: int) -> str:
    """Fill in the form as a person does; return the id of the run."""
    page = story.page
    story.go("/new")
    page.get_by_label("store", exact=True).select_option(index=1)
    page.get_by_label("label", exact=True).fill("digit")
    page.get_by_label("epochs").fill(str(epochs))
    page.get_by_label("device").fill("cpu")
    page.get_by_label("batch size").fill("25")
    page.get_by_label("name", exact=True).fill(name)
    start = page.get_by_role("button", name="Start")
    expect(start).to_be_enabled(timeout=SLOW_MS)
    start.click()
    page.wait_for_url(re.compile(r"/runs/[0-9a-f]{12}$"), timeout=SLOW_MS)
    return page.url.rsplit("/", 1)[1]


def test_the_story_of_a_run(story: Browsing) -> None:
    page = story.page
    story.go("/")
    expect(page.get_by_text("Nothing was run yet.")).to_be_visible()
    story.shot("runs-empty")

    story.go("/new")
    page.get_by_label("store", exact=True).select_option(index=1)
    page.get_by_label("lr", exact=True).fill("fast")
    expect(page.locator("#checked .bad")).to_contain_text("lr = 'fast'", timeout=SLOW_MS)
    story.shot("new-wrong")
    page.get_by_label("lr", exact=True).fill("0.001")
    expect(page.locator("#checked .ok").first).to_contain_text("train samples", timeout=SLOW_MS)
    expect(page.locator("#as-command")).to_contain_text("--lr 0.001")
    expect(page.locator("#checked")).to_contain_text("no run like it was trained here yet")
    page.get_by_role("button", name="Time a few steps").click()
    expect(page.locator("#checked")).to_contain_text("just now", timeout=SLOW_MS)
    story.shot("new", readme=True)
    page.reload()  # a draft is kept
    expect(page.get_by_label("lr", exact=True)).to_have_value("0.001")
    story.check_access()

    run = submit(story, "a long one", 3000)
    expect(page.locator(".chart").first).to_be_visible(timeout=SLOW_MS)
    epoch = page.locator("#head .lead")
    expect(epoch).to_contain_text("Epoch", timeout=SLOW_MS)
    before = page.evaluate(LAST_EPOCH)
    page.wait_for_function(f"() => ({LAST_EPOCH}) > {before}", timeout=SLOW_MS)
    assert "running" in page.title()
    story.shot("run-live")
    story.check_access()

    page.get_by_role("button", name="Cancel and save").click()
    expect(page.locator("#head .state")).to_have_text("cancelled", timeout=SLOW_MS)
    expect(epoch).to_contain_text("Cancelled: stopped with a checkpoint")
    page.get_by_role("link", name="Log", exact=True).click()
    expect(page.locator("#log")).to_contain_text("stopped by SIGTERM")
    page.get_by_label("Find in the log").fill("checkpoint")
    expect(page.locator("#log mark").first).to_be_visible()
    story.shot("run-log")
    page.get_by_role("link", name="Overview").click()
    page.get_by_role("button", name="Resume").click()
    expect(page.locator("#head .state")).to_have_text("running", timeout=SLOW_MS)
    page.get_by_role("button", name="Cancel and save").click()
    expect(page.locator("#head .state")).to_have_text("cancelled", timeout=SLOW_MS)
    page.get_by_role("link", name="History").click()
    expect(page.get_by_text("asked to save and stop").first).to_be_visible()
    story.shot("run-history")
    story.go(f"/new?clone={run}")
    page.get_by_label("epochs").fill("30")
    expect(page.locator("#differs")).to_contain_text("3000 → 30", timeout=SLOW_MS)
    expect(page.locator("#differs > div")).to_have_count(1)  # and nothing else differs
    story.shot("clone")


def test_a_run_is_measured_when_it_is_trained(story: Browsing) -> None:
    page = story.page
    submit(story, "seen and heard", 30)
    expect(page.get_by_role("heading", name="With modalities missing")).to_be_visible(
        timeout=180_000
    )
    expect(page.locator("table.heat tbody tr")).to_have_count(4)
    page.wait_for_selector(".chart canvas")
    story.shot("run", readme=True)
    story.check_access()
    page.get_by_label("Smooth").fill("0.8")
    expect(page.get_by_text("training loss, smooth")).to_be_visible()
    page.get_by_label("Across").select_option("time")
    page.get_by_label("Log axis").check()
    for tab in ("Settings", "Files", "History"):
        page.get_by_role("link", name=tab, exact=True).click()
        expect(page.locator("table, dl").first).to_be_visible()
        story.check_access()
        story.shot(f"run-{tab.lower()}")


def test_a_label_that_is_being_typed_is_not_written_over(story: Browsing, served: Served) -> None:
    page = story.page
    store = served.client.get("/api/v1/stores").json()[0]["path"]
    held: list[Route] = []
    page.route("**/new.js*", lambda route: held.append(route))
    page.goto(f"{story.url}/new?store={store}", wait_until="commit")
    label = page.get_by_label("label", exact=True)
    label.press_sequentially("di")
    held[0].continue_()
    expect(page.locator("#checked")).to_contain_text("'di'", timeout=SLOW_MS)
    label.press_sequentially("git")
    expect(page.locator("#checked")).to_contain_text("train samples", timeout=SLOW_MS)


def test_a_list_that_grows_old_says_so(story: Browsing) -> None:
    page, lost = story.page, story.page.locator("#lost")
    story.go("/")
    expect(lost).to_be_hidden()
    page.context.set_offline(True)
    expect(lost).to_contain_text("The service has not answered since", timeout=SLOW_MS)
    story.check_access()
    page.context.set_offline(False)
    expect(lost).to_be_hidden(timeout=SLOW_MS)
    story.complaints.clear()  # of the requests that nobody answered


def test_the_list_obeys_keys(story: Browsing) -> None:
    page = story.page
    story.go("/")
    expect(page.locator("table.runs tbody tr")).to_have_count(2)
    story.check_access()
    page.keyboard.press("j")
    page.keyboard.press("x")
    page.keyboard.press("j")
    page.keyboard.press("x")
    expect(page.get_by_text("2 chosen")).to_be_visible()
    page.wait_for_timeout(4000)  # the table has refreshed itself since
    expect(page.get_by_text("2 chosen")).to_be_visible()
    assert page.locator("table.runs input:checked").count() == 2
    story.shot("runs", readme=True)
    page.keyboard.press("/")
    page.keyboard.type("state:cancelled")
    expect(page.locator("table.runs tbody tr")).to_have_count(1)
    assert "q=state" in page.url
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.get_by_role("heading", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/runs/[0-9a-f]{12}$"))


def test_a_person_with_nothing_but_a_keyboard_can_start_a_run(
    story: Browsing, served: Served
) -> None:
    page = story.page
    story.go("/")
    page.keyboard.press("g")
    page.keyboard.press("n")
    page.wait_for_url("**/new")
    page.get_by_label("store", exact=True).focus()
    page.keyboard.press("ArrowDown")
    for _ in range(80):  # through the form, as Tab goes
        page.keyboard.press("Tab")
        place = page.evaluate("document.activeElement.id")
        if place == "f-epochs":
            page.keyboard.press("Control+A")
            page.keyboard.type("1")
        if place == "submit":
            break
        if place == "q-priority":
            expect(page.get_by_role("button", name="Start")).to_be_enabled(timeout=SLOW_MS)
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/runs/[0-9a-f]{12}$"), timeout=SLOW_MS)
    job = served.client.get(f"/api/v1/runs/{page.url.rsplit('/', 1)[1]}").json()
    assert job["request"]["job"]["config"]["optim"]["epochs"] == 1, "what was typed is what runs"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [NARROW, WIDE])
def test_every_place_fits_and_can_be_read(
    served: Served, shots: Path, width: int, scheme: str
) -> None:
    run = next(
        one["id"]
        for one in served.client.get("/api/v1/runs").json()["jobs"]
        if one["name"] == "seen and heard"
    )
    url = f"http://127.0.0.1:{served.port}"
    with browsing(url, shots, width=width, scheme=scheme) as story:
        for name, path in {
            "runs": "/",
            "new": "/new",
            "run": f"/runs/{run}",
            "log": f"/runs/{run}/log",
            "settings": f"/runs/{run}/settings",
            "settings-beside": f"/runs/{run}/settings?against={run}",
            "missing": "/runs/0123456789ab",
        }.items():
            if name == "missing":
                story.page.goto(url + path)
                story.complaints.clear()  # the 404 itself
            else:
                story.go(path)
                story.page.wait_for_timeout(800)
            story.check_fits()
            if name.startswith("settings"):
                assert story.page.evaluate(CUT_OFF) == 0, "long values are broken, not cut"
            story.check_access()
            story.shot(f"{name}-{width}-{scheme}")


def test_a_button_waits_for_the_script_of_its_page(story: Browsing) -> None:
    run = submit(story, "soon over", 1)

    def late(route: Route) -> None:
        story.page.wait_for_timeout(2_000)
        route.continue_()

    story.page.route("**/run.js*", late)
    story.page.goto(f"{story.url}/runs/{run}", wait_until="commit")
    story.page.get_by_role("button", name="Name").click()
    expect(story.page.get_by_role("dialog")).to_be_visible(timeout=10_000)


CUT_OFF = """
(({ scrollWidth, clientWidth }) => scrollWidth - clientWidth)(
  document.querySelector('.settings').parentElement
)
"""
LAST_EPOCH = """
Number(/Epoch (\\d+)/.exec(document.querySelector('#head .lead').textContent)?.[1] ?? 0)
"""
