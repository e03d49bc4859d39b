"""`--on-label "person=CMD"`: a program is started when a label comes up; never through a shell."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tflite_runtime_app.errors import UsageError
from tflite_runtime_app.escaping.terminal import escaped
from tflite_runtime_app.sinks.base import Result, Sink, label_of

EVERY = 10.0  # seconds between two starts for one label, at least
LONGEST = 60.0  # seconds a program may run


@dataclass(frozen=True, slots=True)
class Rule:
    """When `label` comes up, `command` is started; "{label}" and "{score}" in its arguments are filled in."""

    label: str
    command: tuple[str, ...]


@dataclass(slots=True)
class _Running:
    process: subprocess.Popen[bytes]
    until: float


class CommandSink(Sink):
    """Each rule's program is started when its label becomes the answer, again only after another answer came between.

    At most one of a rule runs at a time, one start every `every` seconds; what runs longer than `LONGEST` is killed. Its standard output
    goes to our standard error, so that JSON lines stay JSON lines. CLIP_LABEL, CLIP_SCORE and CLIP_SOURCE stand in its environment.
    """

    def __init__(self, rules: Sequence[Rule], every: float = EVERY, clock: Callable[[], float] = time.monotonic) -> None:
        self._rules, self._every, self._clock = tuple(rules), every, clock
        self._before = ""
        self._started: dict[Rule, float] = {}
        self._running: dict[Rule, _Running] = {}
        self.started, self.held_back = 0, 0

    def result(self, result: Result) -> None:
        self._reap()
        label = label_of(result)
        if label == self._before:
            return
        self._before = label
        for rule in self._rules:
            if rule.label.casefold() == label.casefold():
                self._start(rule, result)

    def status(self, status: object) -> None:
        self._reap()

    def close(self) -> None:
        for running in self._running.values():
            _end(running.process)
        self._running.clear()

    def _start(self, rule: Rule, result: Result) -> None:
        now = self._clock()
        if rule in self._running or now - self._started.get(rule, -self._every) < self._every:
            self.held_back += 1
            return
        self._started[rule] = now
        best = result.answer.top[0]
        filled = [word.replace("{label}", rule.label).replace("{score}", f"{best.probability:.4f}") for word in rule.command]
        facts = {"CLIP_LABEL": rule.label, "CLIP_SCORE": f"{best.probability:.4f}", "CLIP_SOURCE": result.source}
        try:
            process = subprocess.Popen(
                filled,
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr.fileno() if _has_number(sys.stderr) else subprocess.DEVNULL,
                env={**os.environ, **facts},
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            print(
                f"classify: --on-label {escaped(f'{rule.label}: {filled[0]} cannot be started: {error}')}",
                file=sys.stderr,
                flush=True,
            )
            return
        self.started += 1
        self._running[rule] = _Running(process, now + LONGEST)

    def _reap(self) -> None:
        for rule, running in list(self._running.items()):
            if running.process.poll() is not None:
                del self._running[rule]
            elif self._clock() > running.until:
                _end(running.process)
                print(
                    f"classify: --on-label {escaped(rule.label)}: killed after {LONGEST:.0f} seconds", file=sys.stderr, flush=True
                )
                del self._running[rule]


def parse_rule(text: str) -> Rule:
    """ "person=notify-send {label}" as a rule. Raises UsageError when it lacks a label or a program."""
    label, equals, command = text.partition("=")
    try:
        words = tuple(shlex.split(command))
    except ValueError as error:
        raise UsageError(f"--on-label {label.strip()}=…: the command's quotes do not match ({error})") from error
    if not equals or not label.strip() or not words:
        # What was written is not repeated: commands hold passwords.
        found = "no =" if not equals else "no label" if not label.strip() else "no command"
        raise UsageError(f'--on-label should be LABEL=COMMAND as in "person=/home/pi/ring.sh {{score}}", found {found}')
    return Rule(label.strip(), words)


def _end(process: subprocess.Popen[bytes]) -> None:
    """The program and what it started are killed; nobody waits for one that cannot die."""
    try:
        os.killpg(process.pid, 9)
    except (ProcessLookupError, PermissionError):
        process.kill()
    try:
        process.wait(0.2)
    except subprocess.TimeoutExpired:
        return


def _has_number(stream: object) -> bool:
    try:
        stream.fileno()  # type: ignore[attr-defined]
    except (AttributeError, OSError, ValueError):
        return False
    return True
