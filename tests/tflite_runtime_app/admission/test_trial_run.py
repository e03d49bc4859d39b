"""A model is tried once, in a child: what crashes, hangs or fails there is one line here, and what came through is not tried again."""

import copy
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tests.clone import ROOT
from tests.tflite_runtime_app import tiny_bundle
from tests.tflite_runtime_app.admission.test_flatbuffer_check import edited, no_such_subgraph
from tflite_runtime_app.admission import budget, trial_run
from tflite_runtime_app.admission import child as module
from tflite_runtime_app.admission.child import Allowed
from tflite_runtime_app.admission.trial_run import admit
from tflite_runtime_app.bundle.file import Bundle, read_bundle
from tflite_runtime_app.errors import AppError, BundleCorrupt, BundleIncompatible
from tflite_runtime_app.inference.cascade import load_cascade
from tflite_runtime_app.policies import Never


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "clip-rescue" / "admitted"


@pytest.fixture
def bundle(bundle_path) -> Bundle:
    return read_bundle(bundle_path)


@pytest.fixture
def deadly(tmp_path, tiny) -> Bundle:
    """A bundle whose digests all hold, and whose model ends LiteRT's process by a signal."""
    flatbuffer = edited(tiny.flatbuffer, no_such_subgraph)
    return read_bundle(tiny_bundle.write(tmp_path / "deadly.tflite", replace(tiny, flatbuffer=flatbuffer), tiny_bundle.bank()))


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """A Python that does something else than try the model: what a child can do to its parent does not depend on the model."""

    def make(body: str) -> None:
        path = tmp_path / "python"
        path.write_text(f"#!{sys.executable} -I\nimport os, signal, sys, time\n{body}\n")
        path.chmod(0o755)
        monkeypatch.setattr(module.sys, "executable", str(path))

    return make


def test_a_sound_model_is_tried_once_and_remembered(bundle, cache, monkeypatch):
    admit(bundle)
    assert len(list(cache.iterdir())) == 1
    monkeypatch.setattr(module.sys, "executable", "/nonexistent")  # a second try would fail
    admit(bundle)


def test_another_flatbuffer_litert_or_processor_is_tried_anew(bundle, cache, monkeypatch):
    admit(bundle)
    monkeypatch.setattr(module.sys, "executable", "/nonexistent")
    other = replace(bundle, manifest=replace(bundle.manifest, flatbuffer_sha256="1" * 64))
    with pytest.raises(AppError, match="cannot start"):
        admit(other)
    for name, value in (("installed_litert", "9.9.9"), ("_processor", "aarch64 asimd")):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, lambda value=value: value)
            with pytest.raises(AppError, match="cannot start"):
                admit(bundle)
    admit(replace(bundle, manifest=replace(bundle.manifest, none_threshold=0.5)))  # the same model with other thresholds


def test_the_check_comes_before_the_child(deadly, monkeypatch):
    monkeypatch.setattr(module.sys, "executable", "/nonexistent")
    with pytest.raises(BundleIncompatible, match="one signature"):
        admit(deadly)


def test_a_crash_of_the_child_is_one_line_and_not_remembered(deadly, cache, monkeypatch):
    monkeypatch.setattr(trial_run, "check", lambda flatbuffer: None)
    for _ in range(2):
        with pytest.raises(BundleIncompatible, match="SIGSEGV") as refusal:
            admit(deadly)
    assert str(deadly.path) in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 1
    assert not cache.exists()


def root_of_every_token(model):
    """Stage 0 takes the reciprocal root of its tokens, which LiteRT refuses where one is negative: a black image has none."""
    graph = model.subgraphs[0]
    source = next(index for index, tensor in enumerate(graph.tensors) if tuple(tensor.shape) == tiny_bundle.HIDDEN.shape)
    output, code, operator = copy.copy(graph.tensors[source]), schema.OperatorCodeT(), schema.OperatorT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.RSQRT
    code.version = 2
    model.operatorCodes.append(code)
    graph.tensors.append(output)
    operator.opcodeIndex, operator.inputs, operator.outputs = len(model.operatorCodes) - 1, [source], [len(graph.tensors) - 1]
    graph.operators.append(operator)


def test_a_model_that_only_some_images_end_is_refused(tmp_path, tiny):
    flatbuffer = edited(tiny.flatbuffer, root_of_every_token)
    path = tiny_bundle.write(tmp_path / "moody.tflite", replace(tiny, flatbuffer=flatbuffer), tiny_bundle.bank())
    moody = read_bundle(path)
    black = load_cascade(moody, policy=Never()).stage_outputs(np.full((1, tiny_bundle.SIDE, tiny_bundle.SIDE, 3), -128, np.int8))
    assert len(list(black)) == 3, "a trial by a black image alone would let it in"
    with pytest.raises(BundleIncompatible, match="does not run on a white image"):
        admit(moody)


def test_the_trial_shows_black_white_noise_and_a_photograph(tiny):
    shown = dict(trial_run.trial_images(replace(tiny.manifest.preprocessing, height=32, width=48)))
    assert list(shown) == ["a black image", "a white image", "an image of noise", "a photograph"]
    assert all(image.shape == (1, 32, 48, 3) and image.dtype == np.int8 for image in shown.values())
    black, white, noise, photograph = shown.values()
    assert (black.min(), black.max(), white.min(), white.max()) == (-128, -128, 127, 127)
    assert photograph.std() > 20
    assert len(np.unique(noise)) > 200


def test_a_trial_ends_before_the_watchdog_and_two_before_the_start_is_over():
    assert Allowed().seconds < budget.WATCHDOG_SECONDS
    assert 2 * Allowed().seconds < budget.START_SECONDS


def test_an_error_of_the_child_is_told(bundle, bundle_path, tiny):
    tiny_bundle.write(bundle_path, replace(tiny, flatbuffer=tiny_bundle.build(seed=1).flatbuffer), tiny_bundle.bank())
    with pytest.raises(BundleIncompatible, match="replaced while it was read"):
        admit(bundle)
    bundle_path.write_bytes(b"cut")
    with pytest.raises(BundleIncompatible, match=r"tried and refused: .*expected a TensorFlow Lite file"):
        admit(bundle)


def test_a_hang_ends_with_the_time_limit(bundle, stand_in, tmp_path):
    stand_in(f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)")
    begin = time.monotonic()
    with pytest.raises(BundleIncompatible, match="did not run within 2 seconds"):
        admit(bundle, Allowed(seconds=2))
    assert time.monotonic() - begin < 20
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text()}").exists(), "the child was left behind"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("os.kill(os.getpid(), signal.SIGBUS)", "crashed the process that tried it .SIGBUS"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "was killed"),
        ("os.kill(os.getpid(), signal.SIGXCPU)", "processor time"),
        ("print('first', file=sys.stderr); print('a\\tb\\x1b[31m', file=sys.stderr); sys.exit(3)", "refused: a b$"),
        ("os.write(2, b'\\xff\\xfe' * 100_000); sys.exit(7)", "ended with 7"),
        ("sys.exit(7)", "ended with 7: nothing"),
    ],
)
def test_whatever_ends_the_child_is_one_line(bundle, stand_in, body, message):
    stand_in(body)
    with pytest.raises(BundleIncompatible, match=message) as refusal:
        admit(bundle)
    assert str(refusal.value).isprintable()


def test_memory_has_a_limit(bundle):
    with pytest.raises(BundleIncompatible) as refusal:
        admit(bundle, Allowed(memory=1 << 20))  # less than Python itself has
    assert len(str(refusal.value).splitlines()) == 1


def test_the_limits_hold_in_the_child(bundle_path):
    """Real ones: a child that may take 400 MB cannot take 800, and one that may compute a second is stopped."""
    for body, code in (("bytearray(800 << 20)", "MemoryError"), ("while True: pass", -signal.SIGXCPU)):
        program = f"from tflite_runtime_app.admission.child import _limit\n_limit(1, 400 << 20)\n{body}"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, env=environment())
        assert done.returncode == code or str(code) in done.stderr


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}


def test_a_module_in_the_working_folder_is_not_run(bundle, tmp_path, monkeypatch):
    trap = tmp_path / "trap"
    trap.mkdir()
    for name in ("numpy.py", "json.py", "tflite_runtime_app.py"):
        (trap / name).write_text("import os\nos._exit(9)\n")
    monkeypatch.chdir(trap)
    admit(bundle)


def test_a_cache_that_cannot_be_written_is_no_error(bundle, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    admit(bundle)


def test_the_cache_is_bounded(bundle, cache, monkeypatch):
    cache.mkdir(parents=True)
    for number in range(100):
        (cache / f"{number:03}").touch()
        os.utime(cache / f"{number:03}", (number, number))
    admit(bundle)
    left = sorted(path.name for path in cache.iterdir())
    assert len(left) == module.REMEMBERED
    assert left[:2] == ["037", "038"], "the oldest go first"


def test_by_hand_it_tells_the_same(deadly, bundle_path):
    command = [sys.executable, "-m", "tflite_runtime_app.admission.trial_run"]
    assert subprocess.run([*command, bundle_path], capture_output=True, check=False, env=environment()).returncode == 0
    assert (
        subprocess.run([*command, deadly.path], capture_output=True, check=False, env=environment()).returncode == -signal.SIGSEGV
    )
    bundle_path.write_bytes(b"")
    done = subprocess.run([*command, bundle_path], capture_output=True, text=True, check=False, env=environment())
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1


def test_what_points_outside_itself_is_corrupt(bundle):
    with pytest.raises(BundleCorrupt):
        admit(replace(bundle, flatbuffer=bundle.flatbuffer[:200]))
