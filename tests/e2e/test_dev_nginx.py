"""nginx in front: what it refuses, strips, adds and hides, through the whole product."""

from __future__ import annotations

import os
import re
import signal
import socket

import httpx
import pytest
from websockets.asyncio.client import connect

from tests.support.product import Product, product
from tests.support.waiting import wait_until
from tests.support.websocket import lesson_url, receive_json, room_join, room_url, socket_open, wait_closed

pytestmark = pytest.mark.timeout(400)

MIB = 1024 * 1024


def test_nginx_leaves_a_body_just_over_the_limit_to_http_api(product: Product) -> None:
    """Up to 11 MiB pass, so that the answer to a body over 10 MiB is http-api's own 413."""
    answer = _post(product, 10 * MIB + 1000)
    assert _problem(answer, 413)["code"] == "body_too_large"
    assert _reached_http_api(answer)


def test_nginx_refuses_a_body_over_11_mib_with_a_problem_document(product: Product) -> None:
    """What is larger never reaches http-api; nginx says the same in the same form."""
    answer = _post(product, 11 * MIB + 1000)
    assert _problem(answer, 413)["code"] == "body_too_large"
    assert not _reached_http_api(answer)


@pytest.mark.parametrize(
    ("request_bytes", "status", "code"),
    [
        (b"NONSENSE\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "bad_request"),  # no Host
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, "uri_too_long"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 9000 + b"\r\n\r\n", 431, "headers_too_large"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: odd\r\n\r\n", 501, "not_implemented"),
        (b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", 505, "http_version_unsupported"),
    ],
)
def test_nginx_answers_what_it_cannot_read_with_a_problem_document(
    product: Product, request_bytes: bytes, status: int, code: str
) -> None:
    """Even a request line that nginx cannot parse is answered as RFC 9457 says, with a stable code."""
    with socket.create_connection(("127.0.0.1", product.port), timeout=20) as connection:
        connection.sendall(request_bytes)
        answer = b""
        while more := connection.recv(65_536):
            answer += more
    head, _, body = answer.partition(b"\r\n\r\n")
    response = httpx.Response(int(head.split()[1]), content=body, headers=_headers(head))
    assert _problem(response, status)["code"] == code


@pytest.mark.parametrize("path", ["/metrics", "/metrics/", "/drain", "/drain/now"])
def test_nginx_hides_internal_paths(product: Product, path: str) -> None:
    """What belongs to the internal ports is 404 here, from nginx itself."""
    answer = httpx.get(product.url + path, trust_env=False)
    assert _problem(answer, 404)["code"] == "not_found"
    assert not _reached_http_api(answer)


@pytest.mark.parametrize("path", ["/", "/api/v1/nothing", "/metrics"])
def test_nginx_says_each_security_header_once(product: Product, path: str) -> None:
    """Pages, API answers and nginx's own errors alike: nosniff, no frames, a referrer policy, an id; no version."""
    answer = httpx.get(product.url + path, trust_env=False)
    for name in ("X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy", "X-Request-ID"):
        assert len(answer.headers.get_list(name)) == 1, name
    assert answer.headers["Server"] == "nginx"


def test_nginx_keeps_a_harmless_request_id_and_replaces_others(product: Product) -> None:
    """A caller's id is found again in the answer; one that could forge a log line is not."""
    kept = httpx.get(f"{product.url}/metrics", headers={"X-Request-ID": "order-4711-a"}, trust_env=False)
    assert kept.headers["X-Request-ID"] == kept.json()["request_id"] == "order-4711-a"
    forged = httpx.get(f"{product.url}/metrics", headers={"X-Request-ID": 'x","level":"y'}, trust_env=False)
    assert re.fullmatch(r"[0-9a-f]{32}", forged.headers["X-Request-ID"])


async def test_a_browser_may_say_localhost(product: Product) -> None:
    """Pages, sign-in, the session's cookie and sockets work at either name of this machine, and at no other."""
    local = f"http://localhost:{product.port}"
    admin, sent = product.dev["admin"], {"Origin": local, "Accept": "text/html"}
    form = {"username": admin["username"], "password": admin["password"]}
    async with httpx.AsyncClient(base_url=local, headers=sent, trust_env=False, timeout=20) as client:
        page = await client.get("/sign-in", headers={"Sec-Fetch-Mode": "navigate"})
        assert page.status_code == httpx.codes.OK
        token = {"csrfmiddlewaretoken": client.cookies["clarion_csrf"]}
        assert (await client.post("/sign-in", data=form | token)).status_code == httpx.codes.FOUND
        assert (await client.get("/lab/")).status_code == httpx.codes.OK
        headers = {"Cookie": f"clarion_session={client.cookies['clarion_session']}"}
        foreign = await client.get("/lab/", headers={"Host": "evil.example", "Accept": "application/json"})
        assert _problem(foreign, 400)["code"] == "host_not_allowed"
    socket = await socket_open(lesson_url(local, "/ws/lab/whoami/"), origin=local, headers=headers)
    assert (await receive_json(socket))["user"] == admin["username"]
    await socket.close()
    room = await room_join(local, "chat:x", product.token("u1"), origin=local)
    await (await room.ping())  # a page that may not is closed at once
    await room.close()


async def test_nginx_says_502_while_a_service_is_down(own_product: Product) -> None:
    """With http-api or every gateway gone: 502 with a code and Retry-After; no line of any log holds the token."""
    own_product.start()
    token, dev = own_product.token("u1"), own_product.dev
    await _use_token_everywhere(own_product, token)
    os.kill(own_product.supervisor_pid(), signal.SIGSTOP)  # nothing is restarted for the while
    try:
        for program in ("http-api", "gateway-1", "gateway-2"):
            pid = own_product.kill(program)
            wait_until(lambda pid=pid: _is_gone(pid), what=f"{program} is gone")
        answer = wait_until(lambda: _bad_gateway(f"{own_product.url}/?token={token}"), what="502 from http-api")
        assert _problem(answer, 502)["code"] == "upstream_unavailable"
        assert answer.headers["Retry-After"] == "1"
        socket_answer = _get(f"{own_product.url}/ws/chat:x/?token={token}")
        assert _problem(socket_answer, 502)["code"] == "upstream_unavailable"
        assert socket_answer.headers["Retry-After"] == "1"
    finally:
        os.kill(own_product.supervisor_pid(), signal.SIGCONT)
    wait_until(lambda: _is_ok(f"{own_product.url}/health/ready"), what="http-api is back")
    assert own_product.stop() == 0
    logs = own_product.logs()
    assert '"path":"/ws/chat:x/"' in logs  # what is looked for below would be here
    for secret in (
        token,
        dev["api_key"],
        dev["token_secret"],
        dev["admin"]["password"],
        dev["redis_url"].split("@")[0],
    ):
        assert secret not in logs


def test_nginx_limits_per_address_when_asked_to() -> None:
    """With limits in the environment what is over them gets 429 and Retry-After; each limit counts by itself."""
    limits = {"CLARION_NGINX_REQUESTS_PER_S": "1", "CLARION_NGINX_HANDSHAKES_PER_S": "1"}
    with product(env=limits) as limited:
        answers = [httpx.get(f"{limited.url}/health/live", trust_env=False) for _ in range(20)]
        refused = [answer for answer in answers if answer.status_code != 200]
        assert refused
        assert len(refused) < 20
        assert _problem(refused[0], 429)["code"] == "too_many_requests"
        assert refused[0].headers["Retry-After"] == "1"
        rooms = [httpx.get(f"{limited.url}/ws/chat:x/", trust_env=False).status_code for _ in range(20)]
        assert rooms[0] != 429
        assert rooms[-1] == 429


async def _use_token_everywhere(product: Product, token: str) -> None:
    """Send a token in each way that a handshake can hold one: well, spoilt, and where it does not belong."""
    async with connect(room_url(product.url, "chat:x", token=token), proxy=None):
        pass
    async with await room_join(product.url, "chat:x", token):
        pass
    async with connect(room_url(product.url, "chat:x", token=token + "x"), proxy=None) as refused:
        assert (await wait_closed(refused))[0] == 4401
    _get(f"{product.dev['gateways'][0]}/ws/chat:x/?token={token}")
    _get(f"{product.url}/nowhere?token={token}")


def _get(url: str) -> httpx.Response:
    return httpx.get(url, trust_env=False, timeout=20)


def _post(product: Product, size: int) -> httpx.Response:
    with product.client() as client:
        return client.post("/api/v1/channels/chat:x/publications", content=b'{"data":"' + b"x" * size + b'"}')


def _problem(answer: httpx.Response, status: int) -> dict[str, object]:
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    document: dict[str, object] = answer.json()
    assert document["status"] == status
    assert document["type"] == f"urn:clarion:problem:{document['code']}"
    assert document["title"]
    assert document["detail"]
    assert document["request_id"] == answer.headers["X-Request-ID"]
    return document


def _reached_http_api(answer: httpx.Response) -> bool:
    return "Cross-Origin-Opener-Policy" in answer.headers  # Django's SecurityMiddleware


def _headers(head: bytes) -> list[tuple[bytes, bytes]]:
    lines = head.split(b"\r\n")[1:]
    return [(name, value.strip()) for name, _, value in (line.partition(b":") for line in lines)]


def _bad_gateway(url: str) -> httpx.Response | None:
    answer = _get(url)
    return answer if answer.status_code == httpx.codes.BAD_GATEWAY else None


def _is_ok(url: str) -> bool:
    return _get(url).status_code == httpx.codes.OK


def _is_gone(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
