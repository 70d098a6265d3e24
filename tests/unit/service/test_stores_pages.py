"""The pages of stores and of the system as the server makes them, readable without scripts."""

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from scfae.service import Queue, Roots
from scfae.service.app import make_app
from scfae.service.context import Service
from scfae.service.store_media import Wave
from scfae.service.store_sample import FeatureMap
from scfae.service.summary_views import Histogram, PresenceMap
from scfae.service.web import shapes
from scfae.store import FeatureStore, SampleRow

from .services import make_service_store, training
from .test_stores import NAMES, write_media, write_store

HTML = {"Accept": "text/html"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    root = tmp_path_factory.mktemp("data")
    write_media(root)
    references = {n: {"video": f"clips/{n}.mp4", "text": f"<b>{n}</b>"} for n in NAMES}
    write_store(root / "small", references)
    make_service_store(root / "sub")
    FeatureStore.create(root / "empty", [SampleRow("a/b <c>")])
    (root / "broken").mkdir()
    (root / "broken" / "store.json").write_text("{")
    return Service(Queue(root / "service"), Roots(stores=(str(root),), media=(str(root),)))


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[TestClient]:
    with TestClient(make_app(service), base_url="http://localhost", headers=HTML) as client:
        yield client


def id_of(service: Service, name: str) -> str:
    return next(one for one, path in service.stores.paths().items() if path.name == name)


def text_of(client: TestClient, place: str) -> str:
    """Return a whole page's words; it must load nothing from elsewhere and run nothing."""
    page = client.get(place)
    assert page.status_code == 200, (place, page.text)
    assert page.text.startswith("<!doctype html>")
    links = re.findall(r'(?:src|href|action)="([^"]*)"', page.text)
    assert all(link.startswith(("/", "#", "data:image/")) for link in links), place
    assert "<script>" not in page.text
    ids = re.findall(r' id="([^"]+)"', page.text)
    assert len(ids) == len(set(ids)), place
    labelled = set(re.findall(r'<label for="([^"]+)"', page.text))
    assert labelled <= set(ids), place
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page.text)))


def test_the_list_names_every_store_and_says_which_cannot_be_read(
    client: TestClient, service: Service
) -> None:
    text = text_of(client, "/stores")
    for words in ("small", "sub", "empty", "200", "digit, fake", "broken", "is damaged"):
        assert words in text, words
    assert client.get("/stores", headers={"Accept": "application/json"}).status_code == 200
    assert client.get("/stores/000000000000").status_code == 404


def test_a_store_says_what_is_in_it_and_what_looks_wrong(
    client: TestClient, service: Service
) -> None:
    text = text_of(client, f"/stores/{id_of(service, 'small')}")
    for words in (
        "6 samples with 2 columns, 1 of them whole.",
        "audio: 2 of 6 samples are not extracted yet",
        "100 \N{MULTIPLICATION SIGN} float32",
        "random weights: noise",
        "1 missing: no sound",
    ):
        assert words in text, words
    text = text_of(client, f"/stores/{id_of(service, 'store')}")
    assert "200 samples with 2 columns, all whole." in text
    assert "One sample, and no columns yet." in text_of(
        client, f"/stores/{id_of(service, 'empty')}"
    )


def test_samples_are_searched_and_paged(client: TestClient, service: Service) -> None:
    url = f"/stores/{id_of(service, 'store')}/samples"
    text = text_of(client, url)
    assert "200 samples" in text
    html = client.get(url).text
    following = re.search(r'href="([^"]+)" rel="next"', html)
    assert following is not None
    assert "Next" in text_of(client, unescape(following[1]))
    part = client.get(url, params={"q": "digit=1"}, headers={"HX-Request": "true"}).text
    assert part.startswith('<div id="samples"')
    assert "No sample has all of that" in text_of(client, f"{url}?q=nothing")
    assert "the label holds numbers" in text_of(client, f"{url}?q=digit=x")
    assert "there is no column" in text_of(client, f"{url}?q=has:none")


def test_a_sample_is_shown_on_one_axis_of_time(client: TestClient, service: Service) -> None:
    url = f"/stores/{id_of(service, 'small')}/samples/clip3"
    text = text_of(client, url)
    assert "<b>clip3</b>" in text  # as words
    html = client.get(url).text
    assert html.count("data:image/jpeg") > 2
    assert html.count("data:image/png") >= 1
    assert 'aria-label="sound from 0.00 to 0.4' in html
    assert re.search(r"--left: 0.0%; --width: [89]\d", html) or "--width: 100.0%" in html
    empty = f"/stores/{id_of(service, 'empty')}/samples/a%2Fb%20%3Cc%3E"
    assert "a/b <c>" in text_of(client, empty)
    assert client.get(f"/stores/{id_of(service, 'small')}/samples/none").status_code == 404


def test_a_swap_is_asked_for_without_scripts(client: TestClient, service: Service) -> None:
    url = f"/stores/{id_of(service, 'small')}/swap"
    text = text_of(client, f"{url}?column=audio")
    assert "Encoders that fit" in text
    assert "ge2e" in text
    asked = {"column": "audio", "encoder": "nothing"}
    page = client.get(url, params=asked, headers={"HX-Request": "true"})
    assert page.text.startswith('<div id="plan"')
    assert "there is no encoder" in page.text
    assert "it is of audio" in text_of(client, f"{url}?column=video&encoder=ge2e")


def test_the_system_shows_all_that_an_admin_may_do(client: TestClient, service: Service) -> None:
    roots = Roots(stores=service.roots.stores)
    request = training(store=str(service.stores.path(id_of(service, "store"))), name="<i>old</i>")
    job = service.queue.submit(request, actor="ann", roots=roots).id
    assert "queued 1" in text_of(client, "/system")
    assert "No worker runs" in text_of(client, "/system")
    service.queue.wish(job, "cancel", actor="ann")
    service.queue.discard(job)
    text = text_of(client, "/system/trash")
    assert "1 run," in text
    assert "<i>old</i>" in text
    service.tokens.add("vera", "viewer")
    assert "vera viewer" in text_of(client, "/system/tokens")
    assert "There is none yet." in text_of(client, "/system/webhooks")
    client.post("/api/v1/trash/empty")
    assert "POST /api/v1/trash/empty" in text_of(client, "/system/audit")
    assert "No line has all of that" in text_of(client, "/system/audit?q=nothing+such")
    assert "The trash is empty." in text_of(client, "/system/trash")
    part = client.get("/system", headers={"HX-Request": "true"}).text
    assert part.lstrip().startswith('<div id="now"')


def test_what_a_viewer_sees_has_no_buttons_that_are_refused(tmp_path: Path) -> None:
    make_service_store(tmp_path)
    roots = Roots(stores=(str(tmp_path),))
    service = Service(Queue(tmp_path / "service"), roots, needs_token=True)
    headers = HTML | {"Authorization": f"Bearer {service.tokens.add('vera', 'viewer')}"}
    with TestClient(make_app(service), base_url="http://localhost", headers=headers) as client:
        one = id_of(service, "store")
        assert "Audit log" not in text_of(client, "/system")
        assert "Your token may look" in text_of(client, f"/stores/{one}/swap")
        assert ">Train on it<" not in client.get(f"/stores/{one}").text
        assert client.get("/system/audit").status_code == 403
        asked = f"/stores/{one}/swap?column=audio&encoder=ge2e"
        assert "Extract it" not in text_of(client, asked)


def test_histograms_have_a_bar_a_value_and_say_where_they_end() -> None:
    few = Histogram.of(np.array([1, 1, 2, 5]))
    assert few is not None
    assert (few.counts, shapes.ends(few)) == ((2, 1, 0, 0, 1), "1 to 5")
    assert shapes.histogram(few, "rows").count("<rect") == 3
    same = Histogram.of(np.array([7, 7]))
    assert same is not None
    assert (same.counts, shapes.ends(same), shapes.histogram(same, "rows")) == ((2,), "7", "")
    many = Histogram.of(np.linspace(-1.0, 1.0, 1000))
    assert many is not None
    assert (len(many.counts), sum(many.counts)) == (30, 1000)
    assert Histogram.of(np.array([])) is None


def test_a_strip_covers_the_store_once() -> None:
    found = PresenceMap(edges=(0, 1, 2, 4), shares={"a": (1.0, 1.0, 0.5), "b": (0.0, 0.0, 0.0)})
    strip = shapes.presence(found, "a")
    assert re.findall(r'x="([\d.]+)" width="([\d.]+)"', strip) == [
        ("0.00", "500.30"),
        ("500.00", "500.30"),
    ]
    assert "75 % of the samples" in strip
    assert "0 % of the samples" in shapes.presence(found, "b")


def test_maps_and_waves_are_drawn_even_when_flat_or_empty() -> None:
    values = ((0.0, None, 1.0), (0.5, 0.5, 0.5))
    found = FeatureMap(values=values, starts_s=(0.0, 1.0), ends_s=(1.0, 2.0), low=0.0, high=1.0)
    assert shapes.picture(found).startswith("data:image/png;base64,")
    flat = FeatureMap(values=((1.0,),), starts_s=(None,), ends_s=(None,), low=1.0, high=1.0)
    assert shapes.picture(flat).startswith("data:image/png;base64,")
    silent = Wave(bins=((0.0, 0.0),), start_s=0.0, end_s=1.0)
    assert "polygon" in shapes.waveform(silent)
    assert shapes.line([0.5]) == ""
    assert shapes.line([0.0, 1.0]) == "0.0,23.0 120.0,1.0"
