"""The whole story on media: train two, compare, promote, predict a clip, swap a backbone."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import expect
from tests.unit.service.services import Served, start_server

from scfae.demo.clips import make_media
from scfae.extract import extract
from scfae.store import FeatureStore

from .browsing import Browsing, browsing

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

SLOW_MS = 300_000
RUN = re.compile(r"/runs/[0-9a-f]{12}$")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of drifting digits and voices, enough to learn from, and their features in `store`."""
    root = tmp_path_factory.mktemp("root")
    make_media(root / "media", {"train": 40, "val": 10, "test": 20}, fake_ratio=0.0, seed=2)
    encoders = ("efficientnet-lite0:fps=2", "ge2e")
    extract(root / "media" / "manifest.csv", root / "store", encoders, shard_size=16, batch_size=4)
    return root


@pytest.fixture(scope="module")
def served(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    words = ["--store-root", str(root), "--media-root", str(root), "--gpus", "none"]
    with start_server(tmp_path_factory.mktemp("service"), *words) as served:
        yield served


@pytest.fixture
def story(served: Served) -> Iterator[Browsing]:
    shots = Path(__file__).parent / "shots"
    with browsing(f"http://127.0.0.1:{served.port}", shots) as story:
        story.page.set_default_timeout(SLOW_MS)
        expect.set_options(timeout=SLOW_MS)
        yield story


def train(story: Browsing, name: str, fusion: str, lr: str) -> None:
    """Fill in the rest of the form, and wait until the run is trained and measured."""
    page = story.page
    page.get_by_label("label", exact=True).fill("digit")
    page.get_by_label("fusion", exact=True).select_option(fusion)
    page.get_by_label("epochs").fill("20")
    page.get_by_label("lr", exact=True).fill(lr)
    page.get_by_label("batch size").fill("8")
    page.get_by_label("device").fill("cpu")
    page.get_by_label("name", exact=True).fill(name)
    start = page.get_by_role("button", name="Start")
    expect(page.locator("#checked")).to_contain_text("train samples", timeout=60_000)
    expect(start).to_be_enabled()
    start.click()
    page.wait_for_url(RUN)
    # When it has finished, the page loads itself anew, and only then shows what was measured.
    expect(page.get_by_role("heading", name="With modalities missing")).to_be_visible()


def test_from_a_store_to_a_prediction_and_another_backbone(story: Browsing, root: Path) -> None:
    page = story.page
    story.go("/stores")
    page.get_by_role("link", name="store", exact=True).first.click()
    story.shot("store", readme=True)
    page.get_by_role("link", name="Train on it").click()
    train(story, "digits by SCFAE", "scfae", "5e-5")
    story.go(f"/new?store={root / 'store'}")
    train(story, "digits by concat", "concat", "5e-4")

    story.go("/")
    for key in ("j", "x", "j", "x", "c"):
        page.keyboard.press(key)
    expect(page.get_by_role("heading", name="2 runs side by side")).to_be_visible()
    expect(page.locator("thead")).to_contain_text("fusion")
    page.wait_for_selector(".charts canvas")
    story.check_access()
    story.shot("compare", readme=True)
    with page.expect_download() as kept:
        page.get_by_role("button", name="validation loss as PNG").click()
    assert kept.value.suggested_filename == "val.loss.png"
    with Image.open(kept.value.path()) as picture:
        colours = picture.convert("RGB").getcolors(maxcolors=1 << 20) or []
        assert picture.width > 300
        assert len(colours) > 20, "lines, names and axes are drawn"

    page.get_by_role("link", name="digits by concat").first.click()
    page.wait_for_url(RUN)
    page.wait_for_load_state("load")  # the buttons are the script's
    page.get_by_role("button", name="Promote").click()
    page.get_by_label("Name of the model").fill("digits")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="digits", exact=True)).to_be_visible()
    clip = sorted((root / "media").rglob("*.mp4"))[0]
    page.locator("#clip").set_input_files(clip)
    expect(page.locator("#bars .one")).to_have_count(10)
    both = page.locator("#bars .value").all_inner_texts()
    page.get_by_label("audio").uncheck()
    seen = page.locator("#bars .value").all_inner_texts()
    assert seen != both, "without its sound the clip looks otherwise"
    story.check_access()
    story.shot("model", readme=True)
    page.get_by_label("audio").check()
    assert page.locator("#bars .value").all_inner_texts() == both

    story.go("/stores")
    page.get_by_role("link", name="store", exact=True).first.click()
    page.get_by_role("link", name=re.compile("Swap")).first.click()
    page.get_by_label("Beside the column").select_option("ge2e")
    page.get_by_label("The encoder").fill("resnetse34v2@random:1")
    page.get_by_role("button", name="What would it take?").click()
    expect(page.locator("#plan")).to_contain_text("resnetse34v2")
    story.shot("swap")
    page.wait_for_load_state("load")
    page.locator("[data-start]").click()
    page.wait_for_url(RUN)
    expect(page.locator("#head .state")).to_have_text("finished")
    assert "resnetse34v2" in "".join(FeatureStore.open(root / "store").columns)
    page.wait_for_load_state("load")
    story.shot("extract")
