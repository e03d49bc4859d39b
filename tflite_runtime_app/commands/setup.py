"""What `classify run` runs on: the model and its labels, as the options ask for them; and the last good model in their place."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from tflite_runtime_app.admission.open import accepted_bundle, open_bundle
from tflite_runtime_app.admission.replacing import previous_path, remove_leftovers
from tflite_runtime_app.admission.signing import PublicKey, read_public_key
from tflite_runtime_app.bundle.file import Bundle
from tflite_runtime_app.classifier import Classifier
from tflite_runtime_app.commands.options import threads_of, view_of
from tflite_runtime_app.commands.outputs import wants_images
from tflite_runtime_app.commands.tell import tell
from tflite_runtime_app.errors import BundleIncompatible
from tflite_runtime_app.live.notify import Notifier
from tflite_runtime_app.text.beside import text_path
from tflite_runtime_app.text.label_source import LabelSource

TRIAL_SECONDS = 300.0  # that systemd grants for a model to be tried, alone and on several threads
LABEL_SECONDS = 120.0  # between two words of a text tower at work


@dataclass(frozen=True, slots=True)
class Ready:
    """A model with the labels in use, where they come from, and a notice on them, empty where there is nothing to say."""

    classifier: Classifier
    labels: LabelSource
    notice: str


class Setup:
    """Opens what `arguments` name; systemd hears by `notifier` that it may take its time. Raises UsageError for a key or a view."""

    def __init__(self, arguments: argparse.Namespace, notifier: Notifier) -> None:
        self.arguments, self.notifier = arguments, notifier
        self._view = view_of(arguments)
        self._threads = 1 if arguments.jobs > 1 else threads_of(arguments)
        self._key: PublicKey | None = None
        if arguments.require_signature:
            self._key = read_public_key(arguments.require_signature)

    def opened(self) -> Bundle:
        """The bundle at FILE, or the last good one beside it, which is said. Raises BundleError or LabelError."""
        self.notifier.starting(TRIAL_SECONDS)
        remove_leftovers(Path(self.arguments.file))
        bundle = open_bundle(self.arguments.file, self._key)
        tell(bundle.notice)
        return bundle

    def ready(self, bundle: Bundle) -> Ready:
        """`bundle` with the labels that the options name. Raises BundleIncompatible or LabelError."""
        given = self.arguments
        self.notifier.starting(TRIAL_SECONDS)
        whole = wants_images(given)
        classifier = Classifier(bundle, self._threads, given.top, given.full_depth, self._view, whole=whole)
        tell(classifier.notice)
        beside = text_path(Path(given.file))  # FILE.previous has no text tower of its own name
        text = given.text or (str(beside) if beside.is_file() else None)
        labels = LabelSource(bundle, given.labels, given.bank, text, self._threads, tell=self._tell, key=self._key)
        return Ready(classifier, labels, classifier.use(labels.read()))

    def previous(self, failing: Ready) -> Ready:
        """The last good model in place of the failing one. Raises BundleError or LabelError when there is none other, or it is refused."""
        kept = previous_path(Path(self.arguments.file))
        if failing.classifier.bundle.path == kept:
            raise BundleIncompatible(f"{kept} is the last good one, and it is what failed")
        return self.ready(accepted_bundle(kept, self._key))

    def _tell(self, line: str) -> None:
        self.notifier.starting(LABEL_SECONDS)
        tell(line)
