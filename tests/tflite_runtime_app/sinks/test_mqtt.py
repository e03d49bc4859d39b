"""What a broker hears: answers, health, Home Assistant's discovery, and what it says when we are gone."""

import json
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

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")


@pytest.fixture
def broker():
    found = Broker()
    yield found
    found.close()


def sink_for(broker, clock=time.monotonic, **facts):
    return MqttSink(Address("127.0.0.1", broker.port, "home/door", **facts), "tiny", (2, 4, 6), clock)


def said(broker, topic):
    return [json.loads(payload) for name, payload, _ in broker.messages if name == topic]


def test_answers_are_said_when_they_change_and_now_and_then(broker):
    clock = Clock()
    sink = sink_for(broker, clock)
    assert broker.wait(lambda: ("home/door/available", "online", True) in broker.messages)
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
    assert broker.wait(lambda: ("home/door/available", "offline", True) in broker.messages)
    assert broker.wills == []


def test_home_assistant_is_told_where_to_find_what_is_said(broker):
    sink = sink_for(broker)
    assert broker.wait(lambda: ("home/door/available", "online", True) in broker.messages)
    sink.result(result())
    sink.status(status())
    assert broker.wait(lambda: said(broker, "home/door/status") and said(broker, "home/door/state"))
    found = [
        (topic, json.loads(payload)) for topic, payload, kept in broker.messages if topic.startswith("homeassistant/") and kept
    ]
    assert len(found) == len(discovery("home/door", "tiny")) == 6
    assert len({payload["unique_id"] for _, payload in found}) == 6
    for topic, payload in found:
        assert topic.endswith("/config")
        field = payload["value_template"].split("value_json.")[1].split(" ")[0]
        assert field in said(broker, payload["state_topic"])[0], "the template reads a field that is there"
        assert payload["availability_topic"] == "home/door/available"
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
        assert later.wait(lambda: ("clip-rescue/available", "online", True) in later.messages, 15)
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
    assert broker.wait(lambda: broker.messages)
    assert broker.users == [("me", "secret")]
    sink._client.socket().shutdown(socket.SHUT_RDWR)
    assert broker.wait(lambda: ("home/door/available", "offline") in broker.wills)
    sink.close()


@pytest.mark.skipif(
    MOSQUITTO is None, reason="NOT CHECKED against a real broker: mosquitto is not installed (apt-get install mosquitto)"
)
def test_mosquitto_takes_it_all(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (tmp_path / "conf").write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n")
    with subprocess.Popen([MOSQUITTO, "-c", tmp_path / "conf"], stderr=subprocess.DEVNULL) as server:
        try:
            from paho.mqtt import client as mqtt

            heard = {}
            listener = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
            listener.on_connect = lambda client, *_: client.subscribe("#")
            listener.on_message = lambda _, __, message: heard.__setitem__(message.topic, message.payload)
            listener.connect_async("127.0.0.1", port)
            listener.loop_start()
            sink = MqttSink(Address("127.0.0.1", port), "tiny", (2, 4, 6))
            until = time.monotonic() + 15
            while "clip-rescue/available" not in heard and time.monotonic() < until:
                time.sleep(0.05)
            sink.result(result())
            while "clip-rescue/state" not in heard and time.monotonic() < until:
                time.sleep(0.05)
            sink.close()
            while heard.get("clip-rescue/available") != b"offline" and time.monotonic() < until:
                time.sleep(0.05)
            listener.loop_stop()
            assert json.loads(heard["clip-rescue/state"])["label"] == "cat"
            assert heard["clip-rescue/available"] == b"offline"
        finally:
            server.terminate()


def test_addresses_are_read():
    assert parse_broker("mqtt://u%40x:p%2Fw@host:1999/a/b") == Address("host", 1999, "a/b", "u@x", "p/w")
    assert parse_broker("host") == Address("host")
    assert parse_broker("mqtts://host") == Address("host", 8883, tls=True)


@pytest.mark.parametrize("url", ["http://host", "mqtt://", "mqtt://host:port", "mqtt://me:secret@host/a/#", "mqtt://host:99999"])
def test_wrong_addresses_are_refused_without_saying_the_password(url):
    with pytest.raises(UsageError, match="--mqtt") as caught:
        parse_broker(url)
    assert "secret" not in str(caught.value)
