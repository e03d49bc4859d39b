"""What a broker hears: answers, health, Home Assistant's discovery, and what it says when we are gone."""

import contextlib
import json
import re
import shutil
import socket
import subprocess
import time

import pytest

from tests.tflite_runtime_app.sinks.broker import Broker
from tests.tflite_runtime_app.sinks.results import result, status
from tests.tflite_runtime_app.sinks.test_sinks import Clock
from tflite_runtime_app.errors import UsageError
from tflite_runtime_app.sinks.mqtt import Broker as Address
from tflite_runtime_app.sinks.mqtt import MqttSink, discovery, parse_broker
from tflite_runtime_app.sinks.mqtt.connection import LONGEST, SILENT, ConnectionNews
from tflite_runtime_app.sinks.mqtt.publisher import publisher_of

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")


@pytest.fixture
def broker():
    found = Broker()
    yield found
    found.close()


def sink_for(broker, clock=time.monotonic, prefix="home/door", source="rpi", tell=lambda line: None, **facts):
    return MqttSink(Address("127.0.0.1", broker.port, prefix, **facts), "tiny", (2, 4, 6), clock, source=source, tell=tell)


def available(broker, word="online"):
    """The topics of those who are there, in the order in which they said so."""
    return [topic for topic, payload, kept in broker.messages if "/available/" in topic and payload == word and kept]


def said(broker, topic):
    return [json.loads(payload) for name, payload, _ in broker.messages if name == topic]


def test_answers_are_said_when_they_change_and_now_and_then(broker):
    clock = Clock()
    sink = sink_for(broker, clock)
    assert broker.wait(lambda: available(broker))
    for label, seconds in (("cat", 0), ("cat", 1), ("cat", 8), ("dog", 0.1), ("dog", 0.5), ("cat", 11)):
        clock.now += seconds
        sink.result(result(label))
    assert broker.wait(lambda: len(said(broker, "home/door/state")) == 3)
    labels = [message["label"] for message in said(broker, "home/door/state")]
    assert labels == ["cat", "dog", "cat"], "not at every frame"
    assert said(broker, "home/door/state")[0]["score"] == 0.8
    sink.status(status("stalled", restarts=2))
    assert broker.wait(lambda: said(broker, "home/door/status"))
    assert (
        said(broker, "home/door/status")[0] | {"problem": "ON", "restarts": 2, "celsius": 51.5}
        == said(broker, "home/door/status")[0]
    )
    sink.close()
    assert broker.wait(lambda: available(broker, "offline") == available(broker))
    assert broker.wills == []


def test_home_assistant_is_told_where_to_find_what_is_said(broker):
    sink = sink_for(broker)
    assert broker.wait(lambda: available(broker))
    sink.result(result())
    sink.status(status())
    assert broker.wait(lambda: said(broker, "home/door/status") and said(broker, "home/door/state"))
    found = [
        (topic, json.loads(payload)) for topic, payload, kept in broker.messages if topic.startswith("homeassistant/") and kept
    ]
    assert len(found) == 7
    assert len({payload["unique_id"] for _, payload in found}) == 7
    for topic, payload in found:
        assert topic.endswith("/config")
        field = payload["value_template"].split("value_json.")[1].split(" ")[0]
        assert field in said(broker, payload["state_topic"])[0], "the template reads a field that is there"
        assert payload["availability_topic"] == available(broker)[0]
    sink.close()


def test_a_broker_that_is_away_holds_nothing_up_and_is_found_again():
    first = Broker()
    port = first.port
    first.close()
    start = time.monotonic()
    sink = MqttSink(Address("127.0.0.1", port), "tiny", (2, 4, 6))
    for _ in range(1000):
        sink.result(result())
        sink.status(status())
    assert time.monotonic() - start < 1
    later = Broker(port)
    try:
        assert later.wait(lambda: available(later), 15)
    finally:
        sink.close()
        later.close()


def test_a_broker_that_never_answers_does_not_hold_up_the_end():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        sink = MqttSink(Address("127.0.0.1", silent.getsockname()[1]), "tiny", (6,))
        sink.result(result())
        time.sleep(0.2)
        start = time.monotonic()
        sink.close()
        assert time.monotonic() - start < 1


def test_the_broker_says_offline_for_a_client_that_was_lost(broker):
    sink = sink_for(broker, user="me", password="secret")
    assert broker.wait(lambda: available(broker))
    assert broker.users == [("me", "secret")]
    sink._client.socket().shutdown(socket.SHUT_RDWR)
    assert broker.wait(lambda: (available(broker)[0], "offline") in broker.wills)
    sink.close()


@contextlib.contextmanager
def mosquitto(folder, *lines):
    """A real broker's port on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (folder / "conf").write_text("\n".join((f"listener {port} 127.0.0.1", "persistence false", *lines, "")))
    with subprocess.Popen([MOSQUITTO, "-c", folder / "conf"], stderr=subprocess.DEVNULL) as server:
        try:
            until = time.monotonic() + 10
            while time.monotonic() < until:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.05)
            yield port
        finally:
            server.terminate()


real = pytest.mark.skipif(
    MOSQUITTO is None, reason="NOT CHECKED against a real broker: mosquitto is not installed (apt-get install mosquitto)"
)


@real
def test_mosquitto_takes_it_all(tmp_path):
    with mosquitto(tmp_path, "allow_anonymous true") as port:
        from paho.mqtt import client as mqtt

        heard = {}
        listener = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        listener.on_connect = lambda client, *_: client.subscribe("#")
        listener.on_message = lambda _, __, message: heard.__setitem__(message.topic, message.payload)
        listener.connect_async("127.0.0.1", port)
        listener.loop_start()
        told = []
        two = [MqttSink(Address("127.0.0.1", port), "tiny", (6,), source=f"usb:{n}", tell=told.append) for n in (0, 1)]
        here, states = [sink._publisher.available for sink in two], [sink._publisher.topic("state") for sink in two]
        until = time.monotonic() + 15
        while any(heard.get(topic) != b"online" for topic in here) and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(1.5)  # two clients of one name would have thrown each other out by now
        for sink in two:
            sink.result(result())
        while not all(topic in heard for topic in states) and time.monotonic() < until:
            time.sleep(0.05)
        assert len(told) == 2
        assert all("connected" in line for line in told)
        assert [heard[topic] for topic in here] == [b"online", b"online"]
        two[0]._client.socket().shutdown(socket.SHUT_RDWR)
        while heard[here[0]] != b"offline" and time.monotonic() < until:
            time.sleep(0.01)
        assert heard[here[1]] == b"online", "the will of one says nothing of the other"
        for sink in two:
            sink.close()
        while any(heard.get(topic) != b"offline" for topic in here) and time.monotonic() < until:
            time.sleep(0.05)
        listener.loop_stop()
        assert [json.loads(heard[topic])["label"] for topic in states] == ["cat", "cat"]
        assert [heard[topic] for topic in here] == [b"offline", b"offline"]


@real
def test_mosquitto_refuses_who_has_no_password(tmp_path):
    told = []
    with mosquitto(tmp_path, "allow_anonymous false") as port:
        sink = MqttSink(Address("127.0.0.1", port, user="me", password="secret"), "tiny", (6,), source="rpi", tell=told.append)
        until = time.monotonic() + 10
        while not told and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(1.2)  # it is tried again
        sink.close()
    assert len(told) == 1
    assert "refuses user or password" in told[0]
    assert "secret" not in told[0]


def test_addresses_are_read():
    assert parse_broker("mqtt://u%40x:p%2Fw@host:1999/a/b") == Address("host", 1999, "a/b", "u@x", "p/w")
    assert parse_broker("host") == Address("host")
    assert parse_broker("mqtts://host") == Address("host", 8883, tls=True)
    assert parse_broker("mqtt://host/") == Address("host")
    assert parse_broker("mqtt://[::1]:7").place == "[::1]:7"
    assert "secret" not in repr(parse_broker("mqtt://secret:secret@host"))


@pytest.mark.parametrize(
    "url",
    [
        "http://host", "mqtt://", "mqtt://host:port", "mqtt://me:secret@host/a/#", "mqtt://host:99999", "mqtt://host:0", "mqtt://ho st",
        "mqtt://me:sec/ret@host/a", "mqtt://me:12/secret@host", "mqtt://me:sec#ret@host", "me:sec?ret@host", "mqtt://me:s@ec/ret@host",
        "mqtt://ho\nst", f"mqtt://{'x' * 64}", "mqtt://a..b", "mqtt://[::1", "mqtt://me:secret",
    ],
)  # fmt: skip
def test_wrong_addresses_are_refused_without_saying_the_password(url):
    with pytest.raises(UsageError, match=r"--mqtt should be .* percent-encoded") as caught:
        parse_broker(url)
    assert "ret" not in str(caught.value)


def test_two_sources_of_one_board_throw_nobody_out_and_share_no_topic(broker):
    two = [sink_for(broker, prefix=None, source=word) for word in ("http://cam/1", "http://me:secret@cam/2")]
    assert broker.wait(lambda: len(available(broker)) == 2)
    time.sleep(1.3)  # who was thrown out comes again after a second
    for sink in two:
        sink.result(result())
        sink.status(status())
    assert broker.wait(lambda: sum(name.endswith("/status") for name, _, _ in broker.messages) == 2)
    assert len(broker.names) == len(set(broker.names)) == 2
    assert broker.wills == []
    topics = [name for name, _, _ in broker.messages]
    assert len(topics) == len(set(topics)) == 2 * (7 + 3), "each topic is said once, by one"
    assert len({json.loads(text)["unique_id"] for name, text, _ in broker.messages if name.endswith("/config")}) == 14
    assert "secret" not in str(broker.messages)
    for sink in two:
        sink.close()


def test_a_connection_that_goes_while_the_sink_closes_is_no_error(broker, monkeypatch):
    sink = sink_for(broker)
    assert broker.wait(lambda: available(broker))
    sink._client.socket().shutdown(socket.SHUT_RDWR)
    assert broker.wait(lambda: not sink._client.is_connected())
    monkeypatch.setattr(sink._client, "is_connected", lambda: True)
    sink.close()


def test_the_same_source_twice_is_two_publishers_with_their_own_availability(broker):
    first, second = sink_for(broker), sink_for(broker)
    assert broker.wait(lambda: len(set(available(broker))) == 2)
    assert len(set(broker.names)) == 2
    first._client.socket().shutdown(socket.SHUT_RDWR)
    assert broker.wait(lambda: broker.wills)
    assert broker.wills == [(first._publisher.available, "offline")]
    for sink in (first, second):
        sink.close()
    again = sink_for(broker)
    assert again._publisher == first._publisher, "the name is free again, and the same from start to start"
    again.close()


def test_two_of_one_name_who_throw_each_other_out_are_told_of_once(broker):
    from paho.mqtt import client as mqtt

    told = []
    sink = sink_for(broker, tell=told.append)
    assert broker.wait(lambda: available(broker))
    thief = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=sink._publisher.client_id)
    thief.connect_async("127.0.0.1", broker.port)
    thief.loop_start()
    assert broker.wait(lambda: len(broker.names) >= 5)
    sink.status(status())
    thief.disconnect()
    thief.loop_stop()
    sink.close()
    assert ["connected" in line or "closed the connection" in line for line in told] == [True, True]


def test_a_publisher_is_known_by_board_source_and_prefix_and_by_nothing_secret():
    one = publisher_of(None, "rtsp://me:secret@cam/1", "board a", "raspberrypi")
    assert one == publisher_of(None, "rtsp://me:other@cam/1", "board a", "raspberrypi"), "a new password is no new camera"
    others = [
        publisher_of(None, "rtsp://me:secret@cam/1", "board b", "raspberrypi"),
        publisher_of(None, "rtsp://me:secret@cam/2", "board a", "raspberrypi"),
        publisher_of("home/door", "rtsp://me:secret@cam/1", "board a", "raspberrypi"),
        publisher_of(None, "rtsp://me:secret@cam/1", "board a", "raspberrypi", 1),
    ]
    for fact in ("id", "client_id", "node", "available", "prefix"):
        assert len({getattr(each, fact) for each in (one, *others)}) == 5
    assert re.fullmatch(r"[a-z0-9]{1,23}", one.client_id), "what every broker must take"
    assert one.prefix == f"clip-rescue/raspberrypi-{one.id[:8]}"
    assert others[2].topic("state") == "home/door/state", "a prefix is used as it is given"
    assert publisher_of(None, "rpi", "a", "ho/st+#.local\n").prefix.startswith("clip-rescue/ho-st-local-")
    assert "secret" not in repr([one, *others]) + repr([discovery(each, "tiny") for each in (one, *others)])
    assert "board" not in repr(one)


def test_a_relative_path_is_the_file_that_it_names(tmp_path, monkeypatch):
    (tmp_path / "film.mp4").touch()
    monkeypatch.chdir(tmp_path)
    assert publisher_of(None, "film.mp4", "b", "h") == publisher_of(None, str(tmp_path / "film.mp4"), "b", "h")


def test_an_answer_says_when_its_image_was_taken(broker):
    sink = sink_for(broker)
    assert broker.wait(lambda: available(broker))
    sink.result(result(taken=1764324000.5))
    assert broker.wait(lambda: said(broker, "home/door/state"))
    assert said(broker, "home/door/state")[0]["taken"] == "2025-11-28T10:00:00.500+00:00"
    [entity] = [json.loads(text) for name, text, _ in broker.messages if name.endswith("/taken/config")]
    assert entity["device_class"] == "timestamp"
    sink.close()


@pytest.mark.parametrize(
    ("code", "words"), [(4, "user or password"), (5, "user or password"), (2, "refuses us"), (3, "refuses us")]
)
def test_a_broker_that_refuses_is_told_of_once(code, words):
    broker, told = Broker(code=code), []
    sink = sink_for(broker, user="me", password="secret", tell=told.append)
    assert broker.wait(lambda: len(broker.names) >= 2), "it is tried again"
    sink.close()
    broker.close()
    assert len(told) == 1
    assert words in told[0]
    assert told[0].startswith(f"--mqtt 127.0.0.1:{broker.port}: ")
    assert "secret" not in told[0]
    assert "\n" not in told[0]


def test_a_broker_that_is_absent_and_comes_back_is_told_of_once_each():
    first, told = Broker(), []
    port = first.port
    first.close()
    sink = sink_for(first, tell=told.append)
    try:
        assert first.wait(lambda: told)
        assert "refused" in told[0]
        later = Broker(port)
        assert later.wait(lambda: len(told) == 2, 15)
        assert "is back; answers go to home/door/state" in told[1]
        later.close()
        assert later.wait(lambda: len(told) == 3)
        assert "closed the connection" in told[2]
        time.sleep(1.3)  # tried again, in vain
    finally:
        sink.close()
    assert len(told) == 3


def test_an_unknown_host_is_told_of():
    told = []
    sink = MqttSink(Address("no-such-host.invalid"), "tiny", (6,), source="rpi", tell=told.append)
    until = time.monotonic() + 30
    while not told and time.monotonic() < until:
        time.sleep(0.05)
    sink.close()
    assert len(told) == 1
    assert "no-such-host.invalid:1883: no broker is reached there" in told[0]


def news():
    clock, told = Clock(), []
    return ConnectionNews("host:1883", "clip-rescue/x", told.append, clock), clock, told


def test_a_broker_that_throws_us_out_again_and_again_floods_nothing():
    found, clock, told = news()
    for _ in range(1000):
        found.connected()
        clock.now += 0.9
        found.look()
        found.lost()
        clock.now += 1
    assert ["connected" in line or "closed" in line for line in told] == [True, True]
    found.connected()
    clock.now += LONGEST
    found.look()
    assert len(told) == 3
    assert "is back" in told[2]


def test_a_connection_that_holds_for_half_a_minute_each_time_floods_nothing_either():
    found, clock, told = news()
    for _ in range(1000):
        found.connected()
        for _ in range(30):
            clock.now += 1
            found.look()
        found.lost()
    assert len(told) < 12


def test_a_broker_that_comes_back_but_refuses_is_told_of_as_that():
    found, _, told = news()
    for _ in range(10):
        found.absent("Connection refused")
        found.refused("Not authorized", True)
        found.lost()
    assert len(told) == 2


def test_a_broker_that_did_not_answer_before_the_end_is_told_of():
    found, _, told = news()
    found.ended()
    found.lost()
    found.absent("too late")
    assert len(told) == 1
    assert "before the end" in told[0]


def test_one_who_is_there_but_no_broker_is_told_of():
    found, clock, told = news()
    for _ in range(100):
        clock.now += 1
        found.look()
    assert len(told) == 1
    assert f"no answer for {SILENT:.0f} s" in told[0]
    found, _, told = news()
    for _ in range(10):
        found.lost()
    assert len(told) == 1
    assert "does not answer as a broker" in told[0]


def test_a_port_that_speaks_another_language_is_told_of():
    told = []
    with socket.create_server(("127.0.0.1", 0)) as other:
        sink = MqttSink(Address("127.0.0.1", other.getsockname()[1]), "tiny", (6,), source="rpi", tell=told.append)
        connection, _ = other.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        until = time.monotonic() + 10
        while not told and time.monotonic() < until:
            time.sleep(0.02)
        sink.close()
    assert len(told) == 1
    assert "no broker is reached" in told[0]
