"""In a real Chromium: the pages of stores and of the system, by keyboard, narrow and dark."""

import functools
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.service.services import (
    Served,
    make_service_store,
    start_server,
    training,
    wait_for,
)
from tests.unit.service.test_stores import NAMES, write_media, write_store

from .browsing import NARROW, WIDE, Browsing, browsing

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]
SLOW_MS = 180_000


@pytest.fixture(scope="module")
def shots() -> Path:
    return Path(__file__).parent / "shots"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("data")
    write_media(root)
    write_store(root / "small", {n: {"video": f"clips/{n}.mp4", "text": n} for n in NAMES})
    make_service_store(root / "sub")
    words = ["--store-root", str(root), "--media-root", str(root), "--gpus", "none"]
    with start_server(tmp_path_factory.mktemp("service"), *words) as served:
        yield served


@pytest.fixture
def story(served: Served, shots: Path) -> Iterator[Browsing]:
    with browsing(f"http://127.0.0.1:{served.port}", shots) as story:
        story.page.set_default_timeout(SLOW_MS)
        yield story


def id_of(served: Served, name: str) -> str:
    stores = served.client.get("/api/v1/stores").json()
    found: str = next(one["id"] for one in stores if Path(one["path"]).name == name)
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_every_page_fits_and_is_read_easily(
    served: Served, shots: Path, scheme: str, width: int
) -> None:
    one = id_of(served, "small")
    stores = ["", f"/{one}", f"/{one}/samples", f"/{one}/samples/clip3", f"/{one}/swap"]
    tabs = ["", "/trash", "/tokens", "/webhooks", "/audit"]
    url = f"http://127.0.0.1:{served.port}"
    with browsing(url, shots, width=width, scheme=scheme) as story:
        for place in [*(f"/stores{one}" for one in stores), *(f"/system{one}" for one in tabs)]:
            story.go(place)
            story.check_fits()
            story.check_access()
            name = place.strip("/").replace(one, "small").replace("/", "-")
            story.shot(f"{name}-{width}-{scheme}")


def test_a_backbone_is_swapped_by_keyboard(story: Browsing, served: Served) -> None:
    page = story.page
    story.go(f"/stores/{id_of(served, 'small')}/swap?column=audio")
    page.locator("button[data-encoder=ge2e]").press("Enter")
    assert page.input_value("#encoder") == "ge2e"
    page.keyboard.type("@random:0")
    page.keyboard.press("Enter")
    page.wait_for_selector("#plan h2")
    said = page.inner_text("#plan")
    assert "ge2e beside audio" in said
    assert "noise" in said
    assert "2 shards; 0 are there already" in said
    page.locator("[data-start]").press("Enter")
    page.wait_for_url("**/runs/*")
    job = page.url.rpartition("/")[2]
    wait_for(lambda: served.queue.get(job).ended_s is not None, seconds=250)
    assert served.queue.get(job).state == "finished"


def test_a_time_cursor_is_moved_by_keyboard(story: Browsing, served: Served) -> None:
    page = story.page
    story.go(f"/stores/{id_of(served, 'small')}/samples/clip3")
    page.focus("#time")
    for _ in range(100):
        page.keyboard.press("ArrowRight")
    begin, end = (float(page.get_attribute("#sample", f"data-{x}") or 0) for x in ("start", "end"))
    said = float(page.inner_text("#time-said").removesuffix(" s"))
    assert said == pytest.approx((begin + end) / 2, abs=0.02)
    hand = page.eval_on_selector(".lane .hand", "one => one.style.left")
    assert float(hand.removesuffix("%")) == pytest.approx(50, abs=1)
    page.evaluate("document.activeElement.blur()")
    before = page.url
    page.keyboard.press("j" if page.locator("a[rel=next]").count() else "k")
    page.wait_for_url(lambda url: url != before)


def test_an_admin_empties_the_trash_and_makes_a_token(story: Browsing, served: Served) -> None:
    page = story.page
    stores = served.client.get("/api/v1/stores").json()
    path = next(one["path"] for one in stores if one["path"].endswith("sub/store"))
    for name in ("first", "second"):
        body = training(store=path, name=name, epochs=4000).model_dump(mode="json")
        job = served.client.post("/api/v1/runs", json=body).json()["id"]
        served.client.post(f"/api/v1/runs/{job}/cancel", json={"now": True})
        wait_for(functools.partial(_is_deleted, served, job))
    story.go("/system/trash")
    page.locator("tr", has_text="first").locator("button").click()
    page.locator("#said", has_text="is back").wait_for()
    assert page.locator("tbody tr").count() == 1
    page.click("button[data-system=empty]")
    page.keyboard.press("Escape")  # nothing is done
    page.click("button[data-system=empty]")
    page.click("dialog[open] button[value=yes]")
    page.locator("#said", has_text="are gone").wait_for()
    assert "The trash is empty." in page.inner_text("main")
    story.go("/system/tokens")
    page.fill("input[name=name]", "bob")
    page.keyboard.press("Enter")
    secret = page.inner_text(".secret")
    headers = {"Authorization": f"Bearer {secret}"}
    assert served.client.get("/api/v1/whoami", headers=headers).json()["name"] == "bob"
    story.go("/system/webhooks")
    page.fill("input[name=url]", "http://127.0.0.1/")
    page.keyboard.press("Enter")
    page.locator("#said", has_text="only this network").wait_for()
    refused = "Failed to load resource: the server responded with a status of 422"
    story.complaints[:] = [one for one in story.complaints if not one.startswith(refused)]


def _is_deleted(served: Served, job: str) -> bool:
    return served.client.delete(f"/api/v1/runs/{job}").is_success
