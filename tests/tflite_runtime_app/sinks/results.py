"""Results as sinks get them, without a model."""

from PIL import Image

from tflite_runtime_app.inference.answer import Answer, Match
from tflite_runtime_app.sinks.base import Result, Status
from tflite_runtime_app.sources.feed import Health


def result(
    label="cat",
    score=0.8,
    none=False,
    frame=0,
    exit=1,
    block=4,
    ms=12.5,
    steady=None,
    image=None,
    taken=None,
    others=("dog",),
    like="",
):
    matches = (Match(label, score, 0.3), *(Match(other, (1 - score) / max(len(others), 1), 0.2) for other in others))
    return Result(
        "camera",
        frame,
        Answer(matches, none, like),
        exit,
        block,
        6,
        1000 * (exit + 1),
        ms,
        (ms / 2,) * (exit + 1),
        image,
        taken,
        steady,
    )


def picture(colour="red", size=(64, 48)):
    return Image.new("RGB", size, colour)


def status(state="live", restarts=0, error=""):
    return Status(12.0, 100, 9.5, Health(state, restarts, 3, 0.1, error), 50_000_000, 51.5, "no")
