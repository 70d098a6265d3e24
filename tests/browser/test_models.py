"""The pages of models in a real browser: a sample, a clip, and switches that move what is shown."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import sync_playwright
from tests.unit.service.services import Served, start_server
from tests.unit.service.trained import trained_job

from scfae.demo.clips import make_media
from scfae.extract import extract
from scfae.service import Roots
from scfae.service.client import Client
from scfae.store import FeatureStore

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]
CHROMIUM = shutil.which("chromium")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("root")
    make_media(root / "media", {"train": 4, "val": 1, "test": 1}, fake_ratio=0.5, seed=2)
    encoders = ("efficientnet-lite0:fps=2", "ge2e")
    extract(root / "media" / "manifest.csv", root / "store", encoders, shard_size=6, batch_size=4)
    return root


@pytest.fixture(scope="module")
def served(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    words = ["--no-worker", "--store-root", str(root)]
    with start_server(tmp_path_factory.mktemp("service"), *words) as served:
        seen, heard = sorted(FeatureStore.open(root / "store").columns)
        job = trained_job(
            served.queue,
            Roots(stores=(str(root),), media=(str(root),)),
            columns={"video": seen, "audio": heard},
            label="fake",
            fusion="concat",
            options={"hidden": 16},
            batch_size=4,
        )
        with Client(f"http://127.0.0.1:{served.port}") as client:
            client.promote(job.id, "fakes", note="the first")
        yield served


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    assert CHROMIUM is not None, "these tests drive a real Chromium: apt install chromium"
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def test_a_clip_that_was_chosen_before_the_script_came_is_asked_for(
    served: Served, browser: Any, root: Path
) -> None:
    page = browser.new_page()
    held: list[Any] = []
    page.route("**/models.js*", lambda route: held.append(route))
    page.goto(f"http://127.0.0.1:{served.port}/models/fakes", wait_until="commit")
    page.set_input_files("#clip", str(sorted((root / "media").glob("*.mp4"))[0]))
    assert len(held) == 1
    held[0].continue_()
    page.wait_for_selector(".answer .one", timeout=120_000)
    page.close()


@pytest.mark.parametrize("width", [1200, 380])
def test_switches_move_what_is_shown_at_once(
    served: Served, browser: Any, root: Path, width: int
) -> None:
    url = f"http://127.0.0.1:{served.port}"
    clip = sorted((root / "media").glob("*.mp4"))[0]
    with Client(url, timeout_s=300) as client:
        said = client.predict("fakes", files={"file": clip}).subsets
    page = browser.new_page(viewport={"width": width, "height": 900})
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda line: wrong.append(line.text) if line.type == "error" else None)
    page.goto(f"{url}/models")
    page.click("text=fakes")
    page.set_input_files("#clip", str(clip))
    page.wait_for_selector(".answer .one", timeout=120_000)

    def shown() -> list[str]:
        texts: list[str] = page.locator(".answer .value").all_inner_texts()
        return texts

    def of(subset: str) -> list[str]:
        shares: Any = said[subset]["probabilities"]
        return [f"{100 * share:.1f} %" for share in shares.values()]

    assert shown() == of("video+audio")
    page.focus("#switches input[value=video]")
    page.keyboard.press("Space")  # by keyboard
    assert shown() == of("audio")
    page.uncheck("#switches input[value=audio]")
    assert shown() == ["\N{EN DASH}"] * 2
    page.check("#switches input[value=video]")
    assert shown() == of("video")
    assert f"file=@{clip.name}" in page.inner_text("#as-curl")
    page.fill("input[name=sample]", "nobody")
    page.keyboard.press("Enter")
    page.wait_for_selector("#status.error")
    assert "no sample 'nobody'" in page.inner_text("#status")
    page.fill("input[name=sample]", clip.stem)
    page.keyboard.press("Enter")
    page.wait_for_selector("text=The store says")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # The refused sample is logged by the browser as a resource that failed, and nothing else is.
    assert [line for line in wrong if "404" not in line and "422" not in line] == []
    page.close()
