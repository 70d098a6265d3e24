"""Pages behind a token: signing in, forged cookies, posts of other sites, removed tokens."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from scfae.service.access import Tokens
from scfae.service.app import make_app
from scfae.service.context import Service
from scfae.service.queue import Queue
from scfae.service.roots import Roots
from scfae.service.session import COOKIE, Sessions
from scfae.store.errors import AccessRefused, ServiceError


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return Service(Queue(tmp_path / "service"), Roots(), needs_token=True)


@pytest.fixture
def secret(service: Service) -> str:
    return service.tokens.add("ann", "operator")


@pytest.fixture
def browser(service: Service) -> Iterator[TestClient]:
    with TestClient(
        make_app(service), base_url="http://localhost", headers={"Accept": "text/html"}
    ) as client:
        yield client


def _sign_in(browser: TestClient, secret: str, then: str = "/") -> Any:
    return browser.post("/login", data={"token": secret, "then": then}, follow_redirects=False)


def test_a_page_sends_who_is_unknown_to_sign_in_and_then_back(
    browser: TestClient, secret: str
) -> None:
    answer = browser.get("/?q=state:failed", follow_redirects=False)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/login?then=%2F%3Fq%3Dstate%3Afailed"
    answer = _sign_in(browser, secret, "/?q=state:failed")
    assert (answer.status_code, answer.headers["location"]) == (303, "/?q=state:failed")
    assert "ann" in browser.get("/").text


@pytest.mark.parametrize(
    ("headers", "is_secure"),
    [
        ({}, False),
        ({"X-Forwarded-Proto": "http"}, False),
        ({"X-Forwarded-Proto": "https, http"}, True),
        ({"Forwarded": 'for=192.0.2.1;proto="https";by=203.0.113.4'}, True),
        ({"Forwarded": "for=192.0.2.1, proto=https"}, False),
    ],
)
def test_the_cookie_stays_on_https_behind_a_proxy_that_ends_tls(
    browser: TestClient, secret: str, headers: dict[str, str], is_secure: bool
) -> None:
    browser.headers |= headers
    assert ("; Secure" in _sign_in(browser, secret).headers["set-cookie"]) == is_secure


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(
    browser: TestClient, secret: str
) -> None:
    cookie = _sign_in(browser, secret).headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert secret not in cookie


@pytest.mark.parametrize("then", ["//evil.example", "https://evil.example/", "/\\evil.example"])
def test_nobody_is_sent_to_another_site(browser: TestClient, secret: str, then: str) -> None:
    assert _sign_in(browser, secret, then).headers["location"] == "/"


def test_a_wrong_token_is_told_so(browser: TestClient) -> None:
    answer = _sign_in(browser, "scfae_wrong")
    assert answer.status_code == 401
    assert "the token is unknown" in answer.text
    assert "set-cookie" not in answer.headers


def test_a_change_takes_the_word_of_a_page_of_ours(browser: TestClient, secret: str) -> None:
    _sign_in(browser, secret)
    refused = browser.post("/api/v1/runs/check", json={}, headers={"Accept": "*/*"})
    assert refused.status_code == 403
    assert "X-CSRF-Token" in refused.json()["detail"]
    odd = browser.post("/api/v1/runs/check", json={}, headers=[(b"X-CSRF-Token", b"\xe9")])
    assert odd.status_code == 403
    found = re.search(r'data-csrf="(\w+)"', browser.get("/").text)
    assert found is not None
    headers = {"X-CSRF-Token": found[1], "Accept": "*/*"}
    assert browser.post("/api/v1/runs/check", json={}, headers=headers).status_code == 200
    assert browser.get("/api/v1/whoami", headers={"Accept": "*/*"}).json()["name"] == "ann"


def test_signing_out_ends_it(browser: TestClient, secret: str) -> None:
    _sign_in(browser, secret)
    found = re.search(r'data-csrf="(\w+)"', browser.get("/").text)
    assert found is not None
    refused = browser.post("/logout", data={"csrf": "0"}, headers={"Accept": "*/*"})
    assert refused.status_code == 403
    browser.post("/logout", data={"csrf": found[1]}, follow_redirects=False)
    assert browser.get("/", follow_redirects=False).status_code == 303


def test_a_forged_or_old_cookie_is_refused(
    browser: TestClient, service: Service, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = service.sessions.begin(secret)
    name, until, signature = good.split("|")
    for forged in (
        f"root|{until}|{signature}",
        f"{name}|{int(until) + 9999}|{signature}",
        f"{name}|{until}|{'0' * 64}",
        f"{name}|{until}|{signature}\N{LATIN SMALL LETTER E WITH ACUTE}",
        "nonsense",
        "",
    ):
        with pytest.raises(AccessRefused, match="the session has ended"):
            service.sessions.actor(forged)
    browser.cookies.set(COOKIE, f"{name}|{until}|{'0' * 64}")
    assert browser.get("/", follow_redirects=False).headers["location"].startswith("/login")
    monkeypatch.setattr("scfae.service.session.time.time", lambda: float(until) + 1)
    with pytest.raises(AccessRefused, match="sign in again"):
        service.sessions.actor(good)


def test_a_session_survives_a_restart_and_ends_with_its_token(
    service: Service, secret: str
) -> None:
    cookie = service.sessions.begin(secret)
    folder = service.queue.folder
    again = Sessions(folder, Tokens(folder))
    assert again.actor(cookie).name == "ann"
    assert (folder / "session.key").stat().st_mode & 0o777 == 0o600
    service.tokens.remove("ann")
    service.tokens.add("ann", "admin")  # of the same name, but another
    with pytest.raises(AccessRefused):
        again.actor(cookie)


def test_a_damaged_key_is_named(service: Service, secret: str) -> None:
    service.sessions.begin(secret)
    (service.queue.folder / "session.key").write_bytes(b"short")
    with pytest.raises(ServiceError, match=r"session\.key is damaged"):
        service.sessions.begin(secret)


def test_who_may_not_submit_is_not_led_to_the_form(browser: TestClient, service: Service) -> None:
    _sign_in(browser, service.tokens.add("otto", "operator"))
    assert 'href="/new"' in browser.get("/stores").text
    _sign_in(browser, service.tokens.add("vera", "viewer"))
    page = browser.get("/stores").text
    assert 'href="/models"' in page
    assert 'href="/new"' not in page
