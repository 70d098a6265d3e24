"""What the stories share: a page that fails on any complaint, pictures, and checks of access."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, sync_playwright

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
"""Those that the README shows; drawn anew with SCFAE_UPDATE_PICTURES=1."""

NARROW, WIDE = 380, 1200


@dataclass
class Browsing:
    """A page of a browser, and what went wrong on it.

    Attributes:
        page: The page.
        url: Of the service.
        shots: Where pictures go.
        complaints: Errors of the console, of scripts, and of requests.
    """

    page: Page
    url: str
    shots: Path
    complaints: list[str] = field(default_factory=list)

    def go(self, path: str) -> None:
        """Open a page of the service."""
        self.page.goto(self.url + path)
        self.page.wait_for_load_state("load")

    def shot(self, name: str, *, readme: bool = False) -> None:
        """Keep a picture of the page.

        Args:
            name: Of the file.
            readme: The README shows it.
        """
        path = self.shots / f"{name}.png"
        self.page.evaluate("scrollTo(0, 0)")
        self.page.screenshot(path=path, full_page=True)
        if readme and os.environ.get("SCFAE_UPDATE_PICTURES"):
            PICTURES.mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=PICTURES / f"{name}.png")

    def check_access(self) -> None:
        """Fail on anything that axe-core finds to be serious."""
        found = Axe().run(self.page).response["violations"]
        serious = [
            f"{one['id']} ({one['impact']}): {one['nodes'][0]['html'][:200]}"
            for one in found
            if one["impact"] in ("serious", "critical")
        ]
        assert not serious, f"{self.page.url}: {serious}"

    def check_fits(self) -> None:
        """Fail if the page is wider than the window."""
        width = self.page.evaluate("document.documentElement.scrollWidth")
        size = self.page.viewport_size
        assert size is not None
        assert width <= size["width"], f"{self.page.url} is {width} wide in {size['width']}"


@contextmanager
def browsing(
    url: str, shots: Path, *, width: int = WIDE, scheme: str = "light"
) -> Iterator[Browsing]:
    """Yield a page of a real Chromium; fail in the end if anything was complained of.

    Args:
        url: Of the service.
        shots: Folder for pictures.
        width: Of the window.
        scheme: light or dark.
    """
    chromium = shutil.which("chromium")
    assert chromium is not None, "these tests drive a real Chromium: apt install chromium"
    shots.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if scheme == "dark" else "light",
        )
        page = context.new_page()
        found = Browsing(page, url, shots)
        page.on(
            "console",
            lambda said: found.complaints.append(said.text) if said.type == "error" else None,
        )
        page.on("pageerror", lambda error: found.complaints.append(str(error)))
        page.on(
            "request",
            lambda asked: (
                None
                if asked.url.startswith((url, "data:", "blob:"))
                else found.complaints.append(f"a request to {asked.url}")
            ),
        )
        yield found
        browser.close()
    assert not found.complaints, found.complaints
