"""The sink: what is published when, and a connection that is kept without anybody waiting for it."""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from tflite_runtime_app import board
from tflite_runtime_app.errors import UsageError
from tflite_runtime_app.sinks.base import Result, Sink, Status, label_of
from tflite_runtime_app.sinks.mqtt.broker import Broker
from tflite_runtime_app.sinks.mqtt.connection import ConnectionNews
from tflite_runtime_app.sinks.mqtt.discovery import discovery
from tflite_runtime_app.sinks.mqtt.publisher import Claim

AT_LEAST_EVERY, AT_MOST_EVERY = 10.0, 0.5  # seconds
QUEUED = 100  # messages that wait for a broker that is away; more are dropped, not kept
_CREDENTIALS = (0x86, 0x87)  # reason codes: bad user name or password, not authorized


class MqttSink(Sink):
    """Publishes the answers for `source` without ever waiting for the broker: a thread of paho's connects, and again after it was away.

    `tell` gets a line when the broker is away, refuses, or is back. Raises UsageError when paho-mqtt is not installed.
    """

    def __init__(
        self,
        broker: Broker,
        name: str,
        blocks: tuple[int, ...],
        clock: Callable[[], float] = time.monotonic,
        *,
        source: str = "",
        tell: Callable[[str], object] = lambda line: None,
    ) -> None:
        try:
            from paho.mqtt import client as mqtt
        except ImportError:
            raise UsageError("--mqtt needs paho-mqtt; install it with: pip install 'clip-rescue[mqtt]'") from None
        self._name, self._blocks, self._clock = name, blocks, clock
        self._before, self._sent = "", -AT_LEAST_EVERY
        self._claim = Claim(broker.prefix, source, board.board_id(), socket.gethostname())
        self._publisher = self._claim.publisher
        self._news = ConnectionNews(broker.place, self._publisher.prefix, tell, time.monotonic)
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=self._publisher.client_id)
        if broker.user is not None:
            self._client.username_pw_set(broker.user, broker.password)
        if broker.tls:
            self._client.tls_set()
        self._client.max_queued_messages_set(QUEUED)
        self._client.will_set(self._publisher.available, "offline", retain=True)
        self._client.reconnect_delay_set(1, 60)
        self._client.on_connect = self._greet
        self._client.on_connect_fail = self._absent
        self._client.on_disconnect = lambda *_: self._news.lost()
        self._client.connect_async(broker.host, broker.port, keepalive=30)
        self._client.loop_start()

    def result(self, result: Result) -> None:
        self._news.look()
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
                "like": result.answer.like,
                "sure": result.answer.sure,
                "block": result.block,
                "ms": round(result.ms, 1),
                "source": result.source,
                "taken": _iso(result.taken),
                "top": top,
            },
        )

    def status(self, status: Status) -> None:
        self._news.look()
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
        self._news.ended()
        if self._client.is_connected():
            with suppress(RuntimeError, ValueError):  # the connection went between the two lines: the broker's will says it
                self._client.publish(self._publisher.available, "offline", retain=True).wait_for_publish(0.3)
            self._client.disconnect()
        # paho's thread may be in the middle of waiting for a broker; it is asked to stop, and nobody waits for it long.
        stopping = threading.Thread(target=self._client.loop_stop, daemon=True)
        stopping.start()
        stopping.join(0.3)
        self._claim.release()

    def _greet(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        """After every connection: we are here, and what we are."""
        if reason.is_failure:
            self._news.refused(str(reason), reason.value in _CREDENTIALS)
            return
        for topic, payload in discovery(self._publisher, self._name):
            client.publish(topic, json.dumps(payload), retain=True)
        client.publish(self._publisher.available, "online", retain=True)
        self._sent = self._clock() - AT_LEAST_EVERY  # the next answer is said at once
        self._news.connected()

    def _absent(self, client: Any, data: Any) -> None:
        # paho calls this while it handles what was raised, and says nothing of it.
        error = sys.exc_info()[1]
        self._news.absent(getattr(error, "strerror", None) or str(error or "no answer"))

    def _publish(self, topic: str, payload: dict[str, Any]) -> None:
        self._client.publish(self._publisher.topic(topic), json.dumps(payload))


def _iso(taken: float | None) -> str | None:
    """As in 2026-11-28T10:00:00.123+00:00, which Home Assistant takes for a time."""
    return None if taken is None else datetime.fromtimestamp(taken, UTC).isoformat(timespec="milliseconds")
