"""What a stranger's bytes do to the program, found out in a process of its own for each: the answer, the refusal, or how it died.

A worker is a process that has imported everything once. For every mutant it forks; the fork has a limit on memory and on time, makes the
mutant, reads it as the program would, and is gone, so that no mutant can spoil the next. By hand, to see one again:
python -m tests.tflite_runtime_app.admission.fuzz_worker SEED NUMBER
"""

import gc
import json
import os
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tests.clone import ROOT
from tests.tflite_runtime_app import tiny_bundle
from tests.tflite_runtime_app.admission import fuzz_mutants
from tflite_runtime_app.admission.flatbuffer_check import check
from tflite_runtime_app.admission.open import checked_bundle, checked_labels
from tflite_runtime_app.admission.trial_run import try_model
from tflite_runtime_app.bundle.file import Bundle
from tflite_runtime_app.bundle.labels import LabelBank
from tflite_runtime_app.bundle.manifest import Preprocessing
from tflite_runtime_app.classifier import Classifier
from tflite_runtime_app.errors import AppError
from tflite_runtime_app.inference.preprocess import image_to_tensor, load_image
from tflite_runtime_app.sources.base import Frame
from tflite_runtime_app.text.tower import TextTower
from tflite_runtime_app.text.trial import check_text, checked_text, try_tower

MEMORY, SECONDS = 3 << 30, 60
Stage = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """One mutant's fate. `verdict`: valid, refused, died, hung or bug; `stage`: what was being done; `peak`: resident bytes of the fork."""

    number: int
    kind: str
    how: str
    verdict: str
    stage: str
    told: str
    peak: int


class Worker:
    """One worker process."""

    def __init__(self) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "tests.tflite_runtime_app.admission.fuzz_worker"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(command, text=True, env=environment, **pipes)

    def outcome(self, seed: int, number: int) -> Outcome:
        """What mutant `number` of `seed` does."""
        print(seed, number, file=self._process.stdin, flush=True)
        return Outcome(**json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()


def main(words: list[str]) -> None:
    """Seeds and numbers on stdin or as arguments, one JSON line each on stdout."""
    fuzz_mutants.prepare()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        path = Path(folder) / "mutant"
        try_model(
            checked_bundle(tiny_bundle.write(path, tiny_bundle.build(), tiny_bundle.bank()))
        )  # LiteRT's first steps, once for all
        assert words or len(os.listdir("/proc/self/task")) == 1, "a fork has none of its parent's threads"
        gc.freeze()
        for line in [" ".join(words)] if words else sys.stdin:
            seed, number = map(int, line.split())
            print(json.dumps(_forked(seed, number, path)), flush=True)


def _forked(seed: int, number: int, path: Path) -> dict:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # LiteRT's own words must not mix with the answers
        _look(seed, number, path, writing)
        os._exit(0)
    os.close(writing)
    lines, hung = _lines(reading)
    if hung:
        os.kill(child, signal.SIGKILL)
    os.close(reading)
    _, status, usage = os.wait4(child, 0)
    facts: dict = {"number": number, "kind": "?", "how": "?", "stage": "start", "peak": usage.ru_maxrss * 1024}
    for line in lines:
        facts |= json.loads(line)
    if status != 0:
        facts |= {"verdict": "hung" if hung else "died", "told": f"wait status {status}: {_signal(status)}"}
    return facts


def _lines(pipe: int) -> tuple[list[str], bool]:
    """What was written to the pipe until it was closed; True when that took too long."""
    parts, end = [], time.monotonic() + SECONDS
    while select.select([pipe], [], [], max(0.0, end - time.monotonic()))[0]:
        part = os.read(pipe, 65536)
        if not part:
            return b"".join(parts).decode().splitlines(), False
        parts.append(part)
    return b"".join(parts).decode().splitlines(), True


def _signal(status: int) -> str:
    return signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else f"exit code {os.WEXITSTATUS(status)}"


def _look(seed: int, number: int, path: Path, pipe: int) -> None:
    def tell(**facts: str) -> None:
        os.write(pipe, (json.dumps(facts) + "\n").encode())

    try:
        mutant = fuzz_mutants.mutant(seed, number)
        path.write_bytes(mutant.content)
        tell(kind=mutant.kind, how=mutant.how)
        DOORS[mutant.kind](path, lambda name: tell(stage=name))
        tell(verdict="valid", told="")
    except AppError as error:
        tell(verdict="refused" if str(error).isprintable() else "bug", told=f"{type(error).__name__}: {error}"[:2000])
    except Exception:
        tell(verdict="bug", told=traceback.format_exc()[-2000:])


def _bundle(path: Path, stage: Stage) -> None:
    """As `classify` opens a bundle; the last step is what its child process does."""
    stage("read_bundle")
    bundle = checked_bundle(path)
    stage("flatbuffer_check")
    check(bundle.flatbuffer)
    stage("interpreter")
    try_model(bundle)
    stage("answers")
    classifier = Classifier(bundle)
    frame = Frame("fuzz", 0, Image.new("RGB", (9, 9), "white").copy)
    for bank in filter(None, (bundle.labels, fewer(bundle), bundle.labels)):  # own labels, others, own again
        classifier.use(bank)
        classifier.classify(frame)


def fewer(bundle: Bundle) -> LabelBank:
    """Two labels in the bundle's space, which exits were not fitted for."""
    vectors = np.eye(bundle.manifest.embedding_size, dtype=np.float32)[:2]
    return LabelBank(vectors, ("one", "two")[: len(vectors)], ("{}",), bundle.manifest.space_id)


def _text(path: Path, stage: Stage) -> None:
    """As a label typed in meets a text tower; the last step is what its child process does, and then what this one does."""
    stage("read_text")
    file = checked_text(path)
    stage("flatbuffer_check")
    check_text(file)
    stage("interpreter")
    try_tower(file)
    stage("answers")
    TextTower(file).label_vectors(["a red mug", "cat"], file.manifest.templates[:5])


def _labels(path: Path, stage: Stage) -> None:
    stage("read_labels")
    bank = checked_labels(path)
    "".join((*bank.names, *bank.templates, bank.space_id)).encode()  # whoever shows them must be able to


def _image(path: Path, stage: Stage) -> None:
    stage("load_image")
    image = load_image(path)
    stage("image_to_tensor")
    assert image_to_tensor(image, Preprocessing(32, 32)).shape == (1, 32, 32, 3)


DOORS: dict[str, Callable[[Path, Stage], None]] = {"bundle": _bundle, "text": _text, "labels": _labels, "image": _image}

if __name__ == "__main__":
    main(sys.argv[1:])
