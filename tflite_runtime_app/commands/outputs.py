"""From options to sinks: everything that hears of answers. Each kind is loaded only when it is asked for."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from tflite_runtime_app.classifier import Classifier
from tflite_runtime_app.commands.tell import tell
from tflite_runtime_app.sinks.base import Sink
from tflite_runtime_app.sources.address import shown


def sinks_of(arguments: argparse.Namespace, classifier: Classifier, change_labels: Callable[[str], str] | None) -> list[Sink]:
    """The sinks that the options ask for; `change_labels` is for the page, None where nothing runs that could change.

    Raises UsageError before anything has begun; those already made are closed then.
    """
    sinks: list[Sink] = [_text(arguments)]
    try:
        if arguments.on_label:
            from tflite_runtime_app.sinks.commands import CommandSink, parse_rule

            sinks.append(CommandSink([parse_rule(text) for text in arguments.on_label], arguments.on_label_every))
        if arguments.snapshots:
            from tflite_runtime_app.sinks.snapshots import SnapshotSink, parse_budget

            budget = parse_budget(arguments.snapshot_budget)
            sinks.append(SnapshotSink(arguments.snapshots, tuple(arguments.snapshot_label), budget))
        if arguments.sheet:
            from tflite_runtime_app.sinks.sheet import SheetSink

            sinks.append(SheetSink(arguments.sheet))
        blocks = tuple(stage.blocks_done for stage in classifier.bundle.manifest.stages)
        if arguments.mqtt:
            from tflite_runtime_app.sinks.mqtt import MqttSink, parse_broker

            broker, source = parse_broker(arguments.mqtt), arguments.sources[0]
            sinks.append(MqttSink(broker, classifier.bundle.manifest.name, blocks, source=source, tell=tell))
        if arguments.serve is not None and change_labels is not None:
            from tflite_runtime_app.sinks.web import WebSink

            page = WebSink(
                arguments.serve,
                arguments.bind,
                arguments.token,
                change_labels,
                classifier.bank.names,
                classifier.bundle.manifest.name,
                blocks,
            )
            sinks.append(page)
            # The journal keeps what is told: a token made for this run has to be shown, one that was given is known.
            tell(page.url if arguments.token is None else f"the page, with the token that was given: {shown(page.url)}")
        if arguments.stats:
            from tflite_runtime_app.sinks.stats import StatsSink

            sinks.append(StatsSink(sys.stderr))
    except BaseException:
        for sink in sinks[1:]:
            sink.close()
        raise
    return sinks


def wants_images(arguments: argparse.Namespace) -> bool:
    """Whether one of the sinks shows or keeps the images themselves."""
    return bool(arguments.snapshots) or bool(arguments.sheet) or arguments.serve is not None


def _text(arguments: argparse.Namespace) -> Sink:
    if arguments.json:
        from tflite_runtime_app.sinks.jsonl import JsonLinesSink

        return JsonLinesSink(sys.stdout)
    if arguments.csv:
        from tflite_runtime_app.sinks.table import CsvSink

        return CsvSink(sys.stdout)
    from tflite_runtime_app.sinks.line import LineSink

    return LineSink(sys.stdout, sys.stderr)


def close(sinks: list[Sink]) -> None:
    """Every sink is closed, the later ones too when an earlier one cannot be."""
    errors: list[BaseException] = []
    for sink in sinks:
        try:
            sink.close()
        except BaseException as error:
            errors.append(error)
    if errors:
        raise errors[0]
