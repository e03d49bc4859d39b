"""What Home Assistant is told of a publisher, so that it finds the answers by itself."""

from __future__ import annotations

from typing import Any

from tflite_runtime_app.sinks.mqtt.publisher import Publisher
from tflite_runtime_app.version import __version__

DISCOVERY = "homeassistant"


def discovery(publisher: Publisher, model: str) -> list[tuple[str, dict[str, Any]]]:
    """Topics and messages: label, score, block left at, when the image was taken, frames a second, temperature, whether all is well."""
    node, state = publisher.node, publisher.topic("state")
    device = {
        "identifiers": [node],
        "name": f"clip-rescue {publisher.source} ({publisher.host})",
        "model": model,
        "sw_version": __version__,
    }
    common = {"device": device, "availability_topic": publisher.available, "origin": {"name": "clip-rescue"}}
    diagnostic = {"entity_category": "diagnostic"}
    measured = {"state_class": "measurement"}
    sensors: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
        ("label", "state", "label", {"name": "Label", "json_attributes_topic": state, "icon": "mdi:eye"}),
        ("score", "state", "score", {"name": "Score", **measured}),
        ("block", "state", "block", {"name": "Left after block", **measured, **diagnostic}),
        ("taken", "state", "taken", {"name": "Taken", "device_class": "timestamp", **diagnostic}),
        ("fps", "status", "fps", {"name": "Frames a second", **measured, **diagnostic}),
        (
            "temperature",
            "status",
            "celsius",
            {"name": "Temperature", "device_class": "temperature", "unit_of_measurement": "°C", **diagnostic},
        ),
    )
    found = [
        (
            f"{DISCOVERY}/sensor/{node}/{key}/config",
            {
                **common,
                **facts,
                "unique_id": f"{node}_{key}",
                "state_topic": publisher.topic(topic),
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
        "state_topic": publisher.topic("status"),
        "value_template": "{{ value_json.problem }}",
    }
    return [*found, (f"{DISCOVERY}/binary_sensor/{node}/problem/config", problem)]
