"""The loop: what is said of each frame, what may be asked meanwhile, what feeds the watchdog, and that nothing grows."""

import dataclasses
import threading
import time
from functools import partial

import pytest
from PIL import Image

from tests.tflite_runtime_app import tiny_bundle
from tests.tflite_runtime_app.sinks.results import picture
from tflite_runtime_app.board import memory_bytes
from tflite_runtime_app.bundle.file import read_bundle
from tflite_runtime_app.classifier import Classifier
from tflite_runtime_app.errors import BundleCorrupt, BundleIncompatible, LabelError, SourceError
from tflite_runtime_app.live.control import Busy, Control
from tflite_runtime_app.live.loop import Loop
from tflite_runtime_app.live.smooth import Smoother
from tflite_runtime_app.sinks.base import Sink
from tflite_runtime_app.sources.base import Frame
from tflite_runtime_app.sources.feed import Health


class ListFeed:
    """A feed of given images, None for a while without one."""

    word = "list"

    def __init__(self, items, state="ended"):
        self.items, self.state, self.closed = list(items), state, False

    def next(self, timeout):
        if not self.items:
            return None
        item = self.items.pop(0)
        return None if item is None else Frame("list", len(self.items), item, 1e9)

    def health(self):
        return Health("live" if self.items else self.state)

    def close(self):
        self.closed = True


class Notes(Sink):
    """Everything that a sink was told, in order."""

    def __init__(self):
        self.told = []

    def result(self, result):
        self.told.append(("result", result))

    def failure(self, failure):
        self.told.append(("failure", failure))

    def status(self, status):
        self.told.append(("status", status))

    def labels(self, names, told):
        self.told.append(("labels", names))

    def kinds(self):
        """But how it is doing, which is told by the clock and at the end."""
        return [kind for kind, _ in self.told if kind != "status"]

    def results(self):
        return [told for kind, told in self.told if kind == "result"]


class Told:
    """In systemd's place."""

    def __init__(self):
        self.said = []

    def ready(self):
        self.said.append("ready")

    def alive(self):
        self.said.append("alive")

    def status(self, text):
        self.said.append(text)

    def stopping(self):
        self.said.append("stopping")


@pytest.fixture
def classifier(bundle_path):
    found = Classifier(read_bundle(bundle_path), 1)
    found.use(found.bundle.labels)
    return found


def broken():
    raise SourceError("broken image")


def test_every_frame_is_answered_or_reported_and_the_watchdog_hears_of_answers_alone(classifier):
    notes, told = Notes(), Told()
    feed = ListFeed([picture, None, broken, picture])
    loop = Loop(feed, classifier, [notes], notifier=told)
    loop.run()
    assert notes.kinds() == ["result", "failure", "result"]
    assert (loop.answered, loop.failed) == (2, 1)
    assert [word for word in told.said if " " not in word] == ["ready", "alive", "alive", "stopping"]
    first = notes.told[0][1]
    assert (first.source, first.taken, first.image.size) == ("list", 1e9, (64, 48))


@pytest.fixture(scope="module")
def light(tmp_path_factory):
    """A classifier whose model fails on what is red."""
    path = tmp_path_factory.mktemp("light") / "light.tflite"
    found = Classifier(read_bundle(tiny_bundle.write(path, tiny_bundle.build(fails_on_red=True), tiny_bundle.bank())), 1)
    found.use(found.bundle.labels)
    return found


def dark():
    return picture("black")


def test_a_frame_that_the_model_fails_on_is_reported_and_the_next_is_answered(light):
    notes, told = Notes(), Told()
    loop = Loop(ListFeed([dark, picture, dark, picture, picture, dark]), light, [notes], notifier=told)
    loop.run()
    assert notes.kinds() == ["result", "failure", "result", "failure", "failure", "result"]
    assert (loop.answered, loop.failed, told.said.count("alive")) == (3, 3, 3)
    (error,) = {failure.error for kind, failure in notes.told if kind == "failure"}
    assert error.startswith("list: the model fails on this input in stage_0: ")
    assert "Rsqrt" in error
    assert "\n" not in error


def test_a_model_that_fails_on_frame_after_frame_gives_way_to_the_last_good_one(light, classifier):
    notes, asked = Notes(), []

    def previous():
        asked.append(1)
        return classifier, ""

    frames = [picture] * 4 + [dark] + [picture] * 4 + [broken] + [picture] * 3
    loop = Loop(ListFeed(frames), light, [notes], Control(), Smoother(1, 1), previous=previous)
    loop.run()
    kinds = ["failure"] * 4 + ["result"] + ["failure"] * 6 + ["failure", "labels"] + ["result"] * 2
    assert notes.kinds() == kinds, "an answer ends the row, a broken image neither ends it nor counts"
    assert asked == [1]
    (switch,) = [told for kind, told in notes.told if kind == "failure" and told.source == "model"]
    assert f"{light.bundle.path}: the model failed on 5 frames in a row" in switch.error
    assert f"the last good one runs: {classifier.bundle.path}" in switch.error
    assert "\n" not in switch.error


def test_without_a_last_good_model_or_when_that_fails_too_the_run_ends_refused(light):
    def none():
        raise BundleCorrupt("x.previous: no such file")

    for previous, why in (
        (None, "no last good one"),
        (none, "x.previous: no such file"),
        (lambda: (light, ""), "no last good one"),
    ):
        told = Told()
        loop = Loop(ListFeed([picture] * 50), light, [Notes()], previous=previous, notifier=told)
        with pytest.raises(BundleIncompatible, match=why) as error:
            loop.run()
        assert error.value.exit_code == 3
        assert loop.failed in (5, 10)
        assert told.said[-1] == "stopping"


class Aging(ListFeed):
    """Frames that are good for five seconds from when they are given."""

    def __init__(self, items, clock):
        super().__init__(items)
        self.clock = clock

    def next(self, timeout):
        frame = super().next(timeout)
        return frame and dataclasses.replace(frame, until=self.clock.now + 5)


class Boot:
    """The machine's clock, which tests put forward."""

    now = 100.0

    def __call__(self):
        return self.now


def test_an_answer_that_comes_after_the_program_was_stopped_is_not_given(classifier):
    notes, clock = Notes(), Boot()

    def stopped():
        clock.now += 12
        return picture()

    def usual():
        clock.now += 0.1
        return picture()

    loop = Loop(Aging([usual, usual, stopped, usual], clock), classifier, [notes], boot_clock=clock)
    loop.run()
    assert notes.kinds() == ["result", "result", "result"]
    assert (loop.answered, loop.failed) == (3, 0)


def test_a_model_that_always_takes_long_is_heard_all_the_same(classifier):
    notes, clock = Notes(), Boot()

    def slow():
        clock.now += 8
        return picture()

    Loop(Aging([slow] * 4, clock), classifier, [notes], boot_clock=clock).run()
    assert notes.kinds() == ["result"] * 4


def test_a_source_that_gives_nothing_feeds_no_watchdog(classifier):
    told = Told()
    Loop(ListFeed([None] * 50), classifier, [], notifier=told).run()
    assert [word for word in told.said if " " not in word] == ["ready", "stopping"]


def test_it_ends_after_so_many_answers(classifier):
    feed = ListFeed([picture] * 10)
    loop = Loop(feed, classifier, [])
    loop.run(3)
    assert loop.answered == 3
    assert len(feed.items) == 7


def test_answers_are_steadied_and_other_labels_begin_anew(classifier):
    notes = Notes()
    loop = Loop(ListFeed([picture] * 3), classifier, [notes], smoother=Smoother(2, 3))
    loop.run(2)
    label = notes.told[0][1].answer.top[0].label
    assert [result.steady for result in notes.results()] == ["", label]
    loop.use(tiny_bundle.bank(("newt", "heron")))
    loop.run(3)
    assert notes.kinds() == ["result", "result", "labels", "result"]
    assert notes.results()[-1].steady == ""
    assert {match.label for match in notes.results()[-1].answer.top} == {"newt", "heron"}


def test_another_thread_changes_the_labels_between_two_frames(classifier):
    control, notes = Control(), Notes()
    feed = ListFeed([picture], "live")
    feed.next = lambda timeout: None if feed.state == "ended" else Frame("endless", 0, picture)
    feed.health = lambda: Health(feed.state)
    loop = Loop(feed, classifier, [notes], control)
    answers = []

    def ask():
        try:
            answers.append(control.ask(lambda: loop.use(tiny_bundle.bank(("newt", "heron")))))
            control.ask(lambda: loop.use(tiny_bundle.bank(("newt", "heron"), "another")))
        except Exception as error:
            answers.append(error)
        finally:
            feed.state = "ended"

    thread = threading.Thread(target=ask)
    thread.start()
    loop.run()
    thread.join(10)
    assert isinstance(answers[0], str)
    assert isinstance(answers[1], LabelError)
    labels = [told for kind, told in notes.told if kind == "labels"]
    assert labels == [("newt", "heron")], "what was refused changed nothing"


def test_who_asks_a_loop_that_does_not_run_is_told():
    control = Control(capacity=1)
    with pytest.raises(Busy, match="no answer"):
        control.ask(lambda: "", timeout=0.05)
    with pytest.raises(Busy, match="too much"):
        control.ask(lambda: "", timeout=0.05)


def test_labels_that_change_on_disk_are_taken_and_broken_ones_told(classifier):
    given = iter([None, tiny_bundle.bank(("newt",)), None, LabelError("half a file")])

    def changed():
        item = next(given, None)
        if isinstance(item, Exception):
            raise item
        return item

    notes = Notes()
    Loop(ListFeed([picture] * 6), classifier, [notes], changed=changed).run()
    assert notes.kinds() == ["result", "labels", "result", "result", "failure", "result", "result", "result"]
    assert notes.results()[-1].answer.top[0].label == "newt"


def test_everyone_hears_how_it_is_doing_once_a_second(classifier):
    class Clock:
        now = 0.0

        def __call__(self):
            Clock.now += 0.05  # the loop looks a few times a frame
            return Clock.now

    notes, told = Notes(), Told()
    Loop(ListFeed([picture] * 100), classifier, [notes], notifier=told, clock=Clock()).run()
    statuses = [status for kind, status in notes.told if kind == "status"]
    assert len(statuses) == pytest.approx(Clock.now, abs=2)
    assert statuses[-1].memory > 1e6
    assert statuses[0].health.state == "live"
    assert any("frames a second" in text for text in told.said)


@pytest.mark.parametrize("frames", [4000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_memory_stays_flat(classifier, frames):
    """Resident memory after the first tenth of the frames and at the end: the same to a megabyte in a hundred thousand frames."""
    image = Image.new("RGB", (64, 48), "red")
    loop = Loop(ListFeed([partial(Image.Image.copy, image)] * frames), classifier, [Sink()], smoother=Smoother(3, 5))
    loop.run(frames // 10)
    before, start = memory_bytes(), time.monotonic()
    loop.run()
    grown = memory_bytes() - before
    assert loop.answered == frames
    assert grown < 1.5e6, f"{grown} bytes in {frames} frames, {time.monotonic() - start:.0f} s"
