"""`classify run` on one live source, until it is stopped."""

from __future__ import annotations

from tflite_runtime_app.classifier import Classifier
from tflite_runtime_app.commands.options import capture_of
from tflite_runtime_app.commands.outputs import close, sinks_of
from tflite_runtime_app.commands.setup import Ready, Setup
from tflite_runtime_app.commands.tell import tell
from tflite_runtime_app.live.control import Control
from tflite_runtime_app.live.loop import Loop
from tflite_runtime_app.live.open_feed import open_feed
from tflite_runtime_app.live.smooth import Smoother
from tflite_runtime_app.live.watched_folder import WatchedFolder
from tflite_runtime_app.sinks.base import Failure, Sink
from tflite_runtime_app.sources.address import shown
from tflite_runtime_app.sources.feed import Feed


def run_live(setup: Setup, ready: Ready, smoother: Smoother | None) -> int:
    """The source is watched until it ends or a signal comes; 1 when it ended for a fault."""
    control, arguments = Control(), setup.arguments

    def change_labels(text: str) -> str:
        bank = ready.labels.change(text)  # in the page's own thread, as it may take seconds
        return control.ask(lambda: loop.use(bank))

    def previous() -> tuple[Classifier, str]:
        nonlocal ready
        ready = setup.previous(ready)
        return ready.classifier, ready.notice

    word = arguments.sources[0]
    feed: Feed = WatchedFolder(word, tell=tell) if arguments.watch else open_feed(word, capture_of(arguments))
    sinks: list[Sink] = []
    try:
        sinks = sinks_of(arguments, ready.classifier, change_labels)
        loop = Loop(
            feed, ready.classifier, sinks, control, smoother,
            changed=lambda: ready.labels.changed(), previous=previous, notifier=setup.notifier,
        )  # fmt: skip
        loop.run(arguments.frames)
        error = feed.health().error
        if error:
            for sink in sinks:
                sink.failure(Failure(shown(word), loop.answered, error))
        return 1 if error or loop.failed else 0
    finally:
        feed.close()
        close(sinks)
