"""Whom the page's server lets in and who may change things: tokens, cookies, names of the machine, other pages, guessing, limits."""

import pytest

from tests.tflite_runtime_app.sinks.web import web_client
from tests.tflite_runtime_app.sinks.web.web_client import served

TOKEN = "a-good-token-of-24-chars"


@pytest.mark.parametrize(
    "path", ["/", "/state.json", "/frame.jpg", "/labels", "/app.js", "/absent", "/../site.py", "/%2e%2e/site.py"]
)
@pytest.mark.parametrize("options", [{}, {"token": TOKEN}])
def test_every_answer_has_the_headers_that_keep_others_out(path, options):
    with served(**options) as page:
        reply = page.get(path)
        policy = dict(part.strip().split(" ", 1) for part in reply.headers["Content-Security-Policy"].split(";"))
        assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert "unsafe" not in str(policy)
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers["Cache-Control"] == "no-store"
        assert reply.headers["Referrer-Policy"] == "no-referrer"
        assert reply.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert reply.headers["X-Frame-Options"] == "DENY"
        assert reply.headers["Server"] is None
        if ".py" in path or path == "/absent":
            assert reply.status in (401, 404)


@pytest.mark.parametrize(
    ("host", "status"), [("localhost:1", 200), ("127.0.0.1", 200), ("[::1]:9", 200), ("evil.example", 403), ("", 403)]
)
def test_a_foreign_name_for_this_machine_is_refused(host, status):
    with served() as page:
        reply = page.get("/state.json", Host=host)
        assert reply.status == status
        assert ("error" in reply.json()) is (status == 403)


def test_with_a_token_nothing_is_seen_without_it():
    with served(token=TOKEN) as page:
        assert page.sink.url.endswith(f"/?token={TOKEN}")
        page.sink.result(web_client.result(image=web_client.noise()))
        for path in ("/", "/state.json", "/frame.jpg", "/labels", "/app.js", "/absent", f"/state.json?token={TOKEN}"):
            assert page.get(path).status == 401
        assert page.post("newt").status == 401
        assert b"open the whole address" in page.get("/").body
        assert page.get("/state.json", Authorization=f"Bearer {TOKEN}").status == 200
        assert page.get("/state.json", Authorization=f"bearer  {TOKEN}").status == 200
        assert page.get("/state.json", Authorization=f"Basic {TOKEN}").status == 401
        assert page.post("newt\nheron", {"Authorization": f"Bearer {TOKEN}"}).json() == {"told": "2 labels are in use."}
        assert page.asked == ["newt\nheron"]


def test_the_token_in_the_address_becomes_a_cookie_and_a_clean_address():
    with served(token=TOKEN) as page:
        reply = page.get(f"/?token={TOKEN}")
        assert (reply.status, reply.headers["Location"], reply.body) == (303, "/", b"")
        cookie, *attributes = [part.strip() for part in reply.headers["Set-Cookie"].split(";")]
        assert cookie == f"classify_{page.port}={TOKEN}"  # cookies know no ports, so its name does
        assert {part.lower() for part in attributes} == {"httponly", "samesite=strict", "path=/"}
        assert page.get("/", Cookie=cookie).status == 200
        assert page.get("/state.json", Cookie=cookie).status == 200
        assert page.get("/state.json", Cookie=f"{cookie}x").status == 401
        assert page.get("/?token=wrong").headers["Set-Cookie"] is None


def test_a_bound_wide_page_makes_a_token_and_prints_an_address_that_leads_there():
    with served(bind="0.0.0.0") as page:
        assert len(page.token) >= 20
        assert "0.0.0.0" not in page.sink.url
        assert page.get("/state.json").status == 401
        assert page.get("/state.json", Host="any.name", Authorization=f"Bearer {page.token}").status == 200


def test_guessing_ends_in_429_and_the_right_token_passes_all_the_same():
    with served(token=TOKEN) as page:
        found = [page.get("/state.json", Authorization=f"Bearer guess-{n}") for n in range(12)]
        assert [reply.status for reply in found] == [401] * 10 + [429] * 2
        assert found[-1].headers["Retry-After"] == "60"
        assert "too many wrong tokens" in found[-1].json()["error"]
        stale = f"classify_{page.port}=token-of-yesterday"
        assert page.get("/state.json", Authorization=f"Bearer {TOKEN}").status == 200
        assert page.get(f"/?token={TOKEN}", Cookie=stale).status == 303
        assert page.get("/state.json", Cookie=f"{stale}; classify_{page.port}={TOKEN}").status == 200
        assert page.post("newt", {"Authorization": f"Bearer {TOKEN}"}).status == 200
        assert page.get("/state.json", Authorization="Bearer another-guess").status == 429
        assert page.get("/state.json").status == 401


def test_a_page_left_open_from_an_earlier_run_is_not_locked_out():
    with served(token=TOKEN) as page:
        stale = {"Cookie": f"classify_{page.port}=token-of-yesterday"}
        assert {page.get("/state.json", **stale).status for _ in range(40)} == {401}
        assert page.get(f"/?token={TOKEN}", **stale).status == 303


@pytest.mark.parametrize(
    ("headers", "drop", "status"),
    [
        ({}, "", 200),
        ({"Content-Type": "application/json; charset=utf-8"}, "", 200),
        ({"Content-Type": "text/plain"}, "", 415),
        ({}, "Content-Type", 415),
        ({}, "X-Classify", 403),
        ({"Origin": "http://evil.example"}, "", 403),
        ({"Origin": "null"}, "", 403),
        ({"Origin": "http://localhost:1"}, "", 403),
    ],
)
def test_only_the_own_page_may_change_the_labels(headers, drop, status):
    with served() as page:
        assert page.post("newt, heron", headers, drop).status == status
        assert page.asked == (["newt\nheron"] if status == 200 else [])
        own = {"Origin": f"http://127.0.0.1:{page.port}"}
        assert page.post("owl", own).status == 200


def test_other_methods_change_nothing():
    with served() as page:
        for method, path in (
            ("GET", "/labels?text=x"),
            ("PUT", "/labels"),
            ("DELETE", "/labels"),
            ("POST", "/"),
            ("OPTIONS", "/labels"),
        ):
            reply = page.request(method, path, b'{"text": "x"}', {"Content-Type": "application/json", "X-Classify": "page"})
            assert (reply.status == 200) is (method == "GET")
            assert reply.headers["Access-Control-Allow-Origin"] is None
        assert page.asked == []


def test_bodies_and_headers_have_limits():
    with served() as page:
        assert page.post(b"x" * 1_000_000).status == 413
        assert page.post("x" * 100_000).status == 413
        assert page.post("x\n" * 5000).status == 422
        assert page.get("/state.json", **{"X-Long": "x" * 40_000}).status == 431
        assert page.post('newt "quoted" <b>').status == 200
        assert page.asked == ['newt "quoted" <b>']
