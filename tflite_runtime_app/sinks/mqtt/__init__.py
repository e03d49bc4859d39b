"""Answers to an MQTT broker, with the messages by which Home Assistant finds them by itself (paho-mqtt, the extra `mqtt`).

Topics under the prefix: `state` (JSON, on every change of the answer and at least every ten seconds), `status` (JSON: rate, restarts,
temperature), `available/ID` ("online", or "offline" by the broker when the publisher ID is gone).
"""

from __future__ import annotations

from tflite_runtime_app.sinks.mqtt.broker import Broker, parse_broker
from tflite_runtime_app.sinks.mqtt.discovery import discovery
from tflite_runtime_app.sinks.mqtt.sink import MqttSink

__all__ = ["Broker", "MqttSink", "discovery", "parse_broker"]
