"""Which requests the page lets in, without a server: limits, tokens, names of the machine, and which labels are taken."""

import json

import pytest

from tests.tflite_runtime_app.sinks.web.web_client import Clock
from tflite_runtime_app.errors import UsageError
from tflite_runtime_app.sinks.web.access import Access, check_own_page, token_for
from tflite_runtime_app.sinks.web.label_text import MAX_CHARACTERS, MAX_LABELS, label_text
from tflite_runtime_app.sinks.web.limit import Guesses, Limit
from tflite_runtime_app.sinks.web.refused import Refused
from tflite_runtime_app.text.label_list import LONGEST

TOKEN = "a-good-token-of-24-chars"


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_limit_lets_so_many_through_within_so_many_seconds(clock):
    limit = Limit(3, 10, clock)
    assert [limit.take() for _ in range(5)] == [True, True, True, False, False]
    clock.now += 9.9
    assert limit.full()
    assert not limit.take()
    clock.now += 0.1
    assert [limit.take() for _ in range(4)] == [True, True, True, False]


def test_guesses_are_counted_per_address_and_repetitions_are_none(clock):
    guesses = Guesses(3, 60, addresses=2, clock=clock)
    for _ in range(100):
        guesses.wrong("left", "the token of yesterday")
    assert not guesses.blocked("left")
    for n in range(3):
        guesses.wrong("right", f"guess {n}")
    assert guesses.blocked("right")
    assert not guesses.blocked("left")
    guesses.wrong("left", "again")
    guesses.wrong("third", "x")  # only two addresses are remembered
    assert not guesses.blocked("right")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "[::1]:8080", "[::1]"])
def test_without_a_token_this_machine_is_called_by_its_own_names(host):
    Access("127.0.0.1", None).check(host, "127.0.0.1", ())


@pytest.mark.parametrize(
    "host", ["", "evil.example", "localhost.evil.example:8080", "127.0.0.1.nip.io", "192.168.1.5:8080", "[::1", "a@b:x"]
)
def test_without_a_token_other_names_are_refused(host):
    with pytest.raises(Refused) as refused:
        Access("127.0.0.1", None).check(host, "127.0.0.1", ())
    assert refused.value.status == 403


def test_an_address_is_blocked_for_wrong_tokens_and_never_for_the_right_one(clock):
    access = Access("0.0.0.0", TOKEN, clock)

    def status(*tokens: str, address: str = "10.0.0.9") -> int:
        try:
            access.check("any.name", address, tokens)
        except Refused as refused:
            return refused.status
        return 200

    assert status("", TOKEN) == status("yesterday’s \udcff", TOKEN) == 200
    assert [status() for _ in range(30)] == [401] * 30  # bringing none is no guess
    assert [status(f"guess {n}") for n in range(12)] == [401] * 10 + [429] * 2
    assert status(TOKEN) == status("guess", TOKEN) == 200
    assert status("guess", address="10.0.0.8") == 401
    clock.now += 60
    assert status("guess") == 401


@pytest.mark.parametrize("token", ["", "short", "x" * 201, "sixteen spaces  ", "semi;colons;;;;;;;", "ümläute-ümläute-"])
def test_weak_tokens_are_refused(token):
    with pytest.raises(UsageError, match="expected a token of 16 to 200"):
        token_for("127.0.0.1", token)


def test_only_loopback_goes_without_a_token():
    assert [token_for(bind, None) for bind in ("127.0.0.1", "127.9.9.9", "::1", "localhost")] == [None] * 4
    made = {token_for(bind, None) for bind in ("0.0.0.0", "::", "192.168.1.5", "some-name") for _ in range(5)}
    assert len(made) == 20
    assert all(len(token) >= 20 for token in made)
    assert token_for("127.0.0.1", TOKEN) == TOKEN


@pytest.mark.parametrize(
    ("kind", "own", "origin", "status"),
    [
        ("application/json", "page", None, None),
        ("Application/JSON; charset=utf-8", "page", "http://Pi.local:80", None),
        ("text/plain", "page", None, 415),
        ("application/x-www-form-urlencoded", "page", None, 415),
        ("", "page", None, 415),
        ("application/json", "", None, 403),
        ("application/json", "page", "http://evil.example", 403),
        ("application/json", "page", "http://pi.local:81", 403),
        ("application/json", "page", "null", 403),
        ("application/json", "page", "http://[", 403),
        ("application/json", "page", "http://]pi.local:80[", 403),
        ("application/json", "page", "http://pi.local:80\uff0f@evil.example", 403),
        ("application/json", "page", "", 403),
    ],
)
def test_only_our_own_page_changes_things(kind, own, origin, status):
    if status is None:
        check_own_page(kind, own, origin, "pi.local:80")
        return
    with pytest.raises(Refused) as refused:
        check_own_page(kind, own, origin, "pi.local:80")
    assert refused.value.status == status


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("cat\n\n  red fox \r\n", ["cat", "red fox"]),
        ("cat, red fox,,owl ,", ["cat", "red fox", "owl"]),
        ("cat, kitty,\n,\ndog, puppy", ["cat", "dog"]),
        ("n01\tcat\nn02\tdog\n", ["cat", "dog"]),
        ("<img src=x onerror=alert(1)>", ["<img src=x onerror=alert(1)>"]),
        ("गिलहरी, 👩‍🚒, می‌خواهم", ["गिलहरी", "👩‍🚒", "می‌خواهم"]),
    ],
)
def test_labels_are_one_a_line_or_a_list_with_commas(text, lines):
    assert label_text(json.dumps({"text": text}).encode()).split("\n") == lines


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 400, "expected JSON"),
        (b"[1]", 400, "expected JSON"),
        (b"\xff", 400, "expected JSON"),
        (b'{"text": 3}', 400, "expected JSON"),
        (b'{"txt": "cat"}', 400, "expected JSON"),
        (b'{"text": "\\ud800"}', 400, "expected JSON"),
        (b"[" * 100_000, 400, "expected JSON"),
        (json.dumps({"text": " ,\n, "}).encode(), 422, "the list names no label"),
        (json.dumps({"text": " \n\t"}).encode(), 422, "the list names no label"),
        (json.dumps({"text": ",,"}).encode(), 422, "the list names no label"),
        (json.dumps({"text": "x" * (MAX_CHARACTERS + 1)}).encode(), 413, "characters"),
        (json.dumps({"text": "\n".join(f"x{k}" for k in range(MAX_LABELS + 1))}).encode(), 422, f"at most {MAX_LABELS} labels"),
        (json.dumps({"text": "cat\n" + "x" * (LONGEST + 1)}).encode(), 422, f"at most {LONGEST} characters"),
        (json.dumps({"text": "cat\n\x1b[2Jdog"}).encode(), 422, "control character"),
        (json.dumps({"text": "cat\x00"}).encode(), 422, "control character"),
    ],
)
def test_what_is_no_list_of_labels_is_refused_in_one_line(body, status, words):
    with pytest.raises(Refused, match=words) as refused:
        label_text(body)
    assert refused.value.status == status
    assert "\n" not in str(refused.value)
