"""The lab's page as a browser gets it: through nginx, from a gateway, in the look of all pages."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.typing import Origin

from tests.support.product import Product
from tests.support.waiting import wait_until
from tests.support.websocket import wait_closed

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def client(product: Product) -> Iterator[httpx.Client]:
    """A browser's part: cookies are kept, redirects are looked at."""
    with httpx.Client(base_url=product.url, trust_env=False, timeout=30) as client:
        yield client


def test_page_is_open_to_everybody_and_says_what_it_may_do(product: Product, client: httpx.Client) -> None:
    """200 without signing in; only this origin's scripts and sockets; a way to sign in that leads back."""
    page = client.get("/lab/")
    assert page.status_code == 200
    policy = page.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert f"connect-src 'self' ws://127.0.0.1:{product.port} ws://localhost:{product.port};" in policy
    assert "unsafe" not in policy
    for name in ("x-frame-options", "x-content-type-options", "referrer-policy", "x-request-id"):
        assert len(page.headers.get_list(name)) == 1, name
    assert 'href="/sign-in?next=%2Flab%2F"' in page.text
    assert "no-store" in page.headers["cache-control"]


def test_page_names_only_files_that_are_there(client: httpx.Client) -> None:
    """Each style, script and picture of the page is served, with its type and an ETag."""
    files = set(re.findall(r'(?:href|src)="(/lab/static/[^"]+)"', client.get("/lab/").text))
    assert "/lab/static/clarion/clarion.css" in files
    for file in files:
        answer = client.get(file)
        assert answer.status_code == 200, file
        assert answer.headers["etag"]
        assert answer.headers["content-type"].startswith(("text/", "image/svg+xml"))


@pytest.mark.parametrize("path", ["/lab/static/clarion/clarion.css", "/static/clarion/clarion.css"])
def test_a_file_that_is_known_is_not_sent_again(client: httpx.Client, path: str) -> None:
    """304 for the ETag that was given, also where nginx compressed the file and made the ETag weak."""
    for encoding in ("gzip", "identity"):
        first = client.get(path, headers={"Accept-Encoding": encoding})
        assert first.headers.get("content-encoding", "identity") == encoding
        again = client.get(path, headers={"Accept-Encoding": encoding, "If-None-Match": first.headers["etag"]})
        assert again.status_code == 304
        assert client.get(path, headers={"If-None-Match": '"other"'}).status_code == 200


@pytest.mark.parametrize("path", ["/lab/nothing", "/lab/static/nothing.js", "/lab/static/../../ws_gateway/env.py"])
def test_unknown_paths_are_404_in_the_callers_language(client: httpx.Client, path: str) -> None:
    """A page for a browser, a problem document for who asks for JSON; no traceback for either."""
    page = client.get(path, headers={"Accept": "text/html,*/*"})
    assert page.status_code == 404
    assert "Traceback" not in page.text
    program = client.get(path, headers={"Accept": "application/json"})
    assert (program.status_code, program.json()["code"]) == (404, "not_found")


def test_the_path_without_its_slash_leads_to_the_page(client: httpx.Client) -> None:
    """On the same origin, whatever port nginx is reached by."""
    answer = client.get("/lab")
    assert answer.status_code == 301
    assert client.build_request("GET", answer.headers["location"]).url == client.build_request("GET", "/lab/").url


def test_signing_in_and_out_leads_back_to_the_lab(product: Product, client: httpx.Client) -> None:
    """One session for both services: the gateway shows who signed in at http-api, and its form signs out there."""
    admin = product.dev["admin"]
    form = client.get("/sign-in?next=/lab/").text
    fields = {"username": admin["username"], "password": admin["password"], "next": "/lab/", **_csrf(form)}
    signed_in = client.post("/sign-in", data=fields)
    assert (signed_in.status_code, signed_in.headers["location"]) == (302, "/lab/")
    page = client.get("/lab/").text
    assert f"Signed in as {admin['username']}" in page
    assert "/sign-in?next=" not in page
    signed_out = client.post("/sign-out", data={"next": "/lab/", **_csrf(page)})
    assert (signed_out.status_code, signed_out.headers["location"]) == (302, "/lab/")
    assert "/sign-in?next=" in client.get("/lab/").text


async def test_the_lab_can_be_off(own_product: Product) -> None:
    """CLARION_LAB=0: no line, no page, no file; a lesson's path is a plain room of a wrong name, as without the lab."""
    own_product.env["CLARION_LAB"] = "0"
    own_product.start()
    assert "/lab/" not in own_product.text
    async with httpx.AsyncClient(base_url=own_product.url, trust_env=False, timeout=30) as client:
        for path in ("/lab/", "/lab", "/lab/static/clarion/clarion.css"):
            answer = await client.get(path)
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    lesson = await connect(f"ws://127.0.0.1:{own_product.port}/ws/lab/sc/", origin=Origin(own_product.url), proxy=None)
    assert (await wait_closed(lesson))[0] == 4400
    assert own_product.stop() == 0


def test_up_says_where_the_lab_is(product: Product) -> None:
    """The ready lines name the page, and it is there."""
    address = wait_until(lambda: re.search(r"^  lab: (\S+) ", product.text, re.MULTILINE), what="the line")[1]
    assert address == f"{product.url}/lab/"
    assert httpx.get(address, trust_env=False).status_code == 200


def _csrf(page: str) -> dict[str, str]:
    found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
    assert found
    return {"csrfmiddlewaretoken": found[1]}
