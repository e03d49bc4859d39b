"""Answers to an MQTT broker, with the messages by which Home Assistant finds them by itself (paho-mqtt, the extra `mqtt`).

Topics under the prefix, `clip-rescue` if none is given: `state` (JSON, on every change of the answer and at least every ten seconds),
`status` (JSON: rate, restarts, temperature), `available` ("online", or "offline" by the broker when we are gone).
"""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from tflite_runtime_app.errors import UsageError
from tflite_runtime_app.sinks.base import Result, Sink, Status, label_of
from tflite_runtime_app.version import __version__

DISCOVERY = "homeassistant"
PREFIX = "clip-rescue"
AT_LEAST_EVERY, AT_MOST_EVERY = 10.0, 0.5  # seconds
QUEUED = 100  # messages that wait for a broker that is away; more are dropped, not kept


@dataclass(frozen=True, slots=True)
class Broker:
    """Where to publish."""

    host: str
    port: int = 1883
    prefix: str = PREFIX
    user: str | None = None
    password: str | None = None
    tls: bool = False


class MqttSink(Sink):
    """Publishes without ever waiting for the broker: it is connected to, and again after it was away, in a thread of paho's.

    Raises UsageError when paho-mqtt is not installed.
    """

    def __init__(self, broker: Broker, name: str, blocks: tuple[int, ...], clock: Callable[[], float] = time.monotonic) -> None:
        try:
            from paho.mqtt import client as mqtt
        except ImportError:
            raise UsageError("--mqtt needs paho-mqtt; install it with: pip install 'clip-rescue[mqtt]'") from None
        self._broker, self._name, self._blocks, self._clock = broker, name, blocks, clock
        self._before, self._sent = "", -AT_LEAST_EVERY
        self._client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, client_id=f"{node_of(broker.prefix)}-{socket.gethostname()}"[:60]
        )
        if broker.user is not None:
            self._client.username_pw_set(broker.user, broker.password)
        if broker.tls:
            self._client.tls_set()
        self._client.max_queued_messages_set(QUEUED)
        self._client.will_set(self._topic("available"), "offline", retain=True)
        self._client.reconnect_delay_set(1, 60)
        self._client.on_connect = self._greet
        self._client.connect_async(broker.host, broker.port, keepalive=30)
        self._client.loop_start()

    def result(self, result: Result) -> None:
        label, now = label_of(result), self._clock()
        due = AT_MOST_EVERY if label != self._before else AT_LEAST_EVERY
        if now - self._sent < due:
            return
        self._before, self._sent = label, now
        best = result.answer.top[0]
        top = {match.label: round(match.probability, 4) for match in result.answer.top}
        self._publish(
            "state",
            {
                "label": label,
                "score": round(best.probability, 4),
                "none": result.answer.none,
                "block": result.block,
                "ms": round(result.ms, 1),
                "source": result.source,
                "top": top,
            },
        )

    def status(self, status: Status) -> None:
        health = status.health
        self._publish(
            "status",
            {
                "fps": round(status.fps, 2),
                "state": health.state,
                "problem": "OFF" if health.state == "live" else "ON",
                "restarts": health.restarts,
                "celsius": status.celsius,
                "throttled": status.throttled,
                "memory_mb": round(status.memory / 1e6, 1),
            },
        )

    def close(self) -> None:
        """The broker hears "offline" if it is there; nobody waits for one that is not."""
        if self._client.is_connected():
            self._client.publish(self._topic("available"), "offline", retain=True).wait_for_publish(0.3)
            self._client.disconnect()
        # paho's thread may be in the middle of waiting for a broker; it is asked to stop, and nobody waits for it long.
        stopping = threading.Thread(target=self._client.loop_stop, daemon=True)
        stopping.start()
        stopping.join(0.3)

    def _greet(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        """After every connection: we are here, and what we are."""
        if reason.is_failure:
            return
        for topic, payload in discovery(self._broker.prefix, self._name):
            client.publish(topic, json.dumps(payload), retain=True)
        client.publish(self._topic("available"), "online", retain=True)

    def _publish(self, topic: str, payload: dict[str, Any]) -> None:
        self._client.publish(self._topic(topic), json.dumps(payload))

    def _topic(self, name: str) -> str:
        return f"{self._broker.prefix}/{name}"


def discovery(prefix: str, name: str) -> list[tuple[str, dict[str, Any]]]:
    """Home Assistant's discovery messages: label, score, the block left at, frames a second, temperature, whether all is well."""
    node = node_of(prefix)
    device = {"identifiers": [node], "name": f"clip-rescue {name}", "model": name, "sw_version": __version__}
    common = {"device": device, "availability_topic": f"{prefix}/available", "origin": {"name": "clip-rescue"}}
    sensors: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
        ("label", "state", "label", {"name": "Label", "json_attributes_topic": f"{prefix}/state", "icon": "mdi:eye"}),
        ("score", "state", "score", {"name": "Score", "state_class": "measurement"}),
        ("block", "state", "block", {"name": "Left after block", "state_class": "measurement", "entity_category": "diagnostic"}),
        ("fps", "status", "fps", {"name": "Frames a second", "state_class": "measurement", "entity_category": "diagnostic"}),
        (
            "temperature",
            "status",
            "celsius",
            {"name": "Temperature", "device_class": "temperature", "unit_of_measurement": "°C", "entity_category": "diagnostic"},
        ),
    )
    found = [
        (
            f"{DISCOVERY}/sensor/{node}/{key}/config",
            {
                **common,
                **facts,
                "unique_id": f"{node}_{key}",
                "state_topic": f"{prefix}/{topic}",
                "value_template": f"{{{{ value_json.{field} }}}}",
            },
        )
        for key, topic, field, facts in sensors
    ]
    problem = {
        **common,
        "name": "Camera",
        "device_class": "problem",
        "unique_id": f"{node}_problem",
        "state_topic": f"{prefix}/status",
        "value_template": "{{ value_json.problem }}",
    }
    return [*found, (f"{DISCOVERY}/binary_sensor/{node}/problem/config", problem)]


def node_of(prefix: str) -> str:
    """The prefix as Home Assistant takes it in a topic."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", prefix)


def parse_broker(url: str) -> Broker:
    """ "mqtt://user:secret@host:1883/prefix", or mqtts:// for TLS. Raises UsageError, without the password in it."""
    wrong = UsageError("--mqtt should be mqtt://[USER:PASSWORD@]HOST[:PORT][/PREFIX], or mqtts:// for TLS")
    try:
        parts = urlsplit(url if "://" in url else f"mqtt://{url}")
        port = parts.port
    except ValueError:
        raise wrong from None
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or re.search(r"[#+?\s]", url.partition("@")[2] or url):
        raise wrong
    tls = parts.scheme == "mqtts"
    return Broker(
        parts.hostname,
        port or (8883 if tls else 1883),
        parts.path.strip("/") or PREFIX,
        unquote(parts.username) if parts.username else None,
        unquote(parts.password) if parts.password else None,
        tls,
    )
