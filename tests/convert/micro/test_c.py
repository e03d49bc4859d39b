"""The C of a microcontroller's build, compiled here: C99 without a warning, its numbers Python's to the bit, its arrays what was given."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from convert.micro import c_source
from convert.micro.split import TFLM
from tools.cortex_m.playback import LAYOUT, Case, different, expected, random_case, with_edges, write

STRICT = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic"]
SANITISED = ["-fsanitize=undefined,address", "-fno-sanitize-recover=all"]


def compiler() -> str:
    found = shutil.which("cc") or shutil.which("gcc")
    assert found is not None, "expected a C compiler, found none; on Debian: apt-get install gcc libc6-dev"
    return found


def output(folder: Path, files: list[Path], *options: str) -> str:
    program = folder / "program"
    done = subprocess.run(
        [compiler(), *STRICT, *options, *map(str, files), "-o", str(program)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    ran = subprocess.run([str(program)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.parametrize(("seed", "labels", "width"), [(1, 7, 24), (2, 1, 9), (3, 40, 33), (4, 3, 256)])
def test_c_answers_what_python_does_to_the_bit(tmp_path, seed, labels, width):
    """With the sanitisers on: no overflow, no shift of a negative number, nothing read beside an array."""
    case = with_edges(random_case(seed, labels, width, 60))
    found = output(tmp_path, write(case, tmp_path), "-O1", *SANITISED)
    assert not different(expected(case), found)
    assert len(found.splitlines()) == 65
    if labels > 5:
        assert len({line.split()[0] for line in found.splitlines()}) > 1, "images that all leave at one exit would prove little"


@pytest.mark.parametrize("optimised", ["-O0", "-O3"])
def test_optimisation_changes_nothing(tmp_path, optimised):
    case = with_edges(random_case(5, 12, 48, 40))
    assert output(tmp_path, write(case, tmp_path), optimised, "-ffast-math") == expected(case)


def test_a_change_of_one_constant_is_seen(tmp_path):
    """The comparison above can fail: a label's code less, and scores differ."""
    case = random_case(6, 12, 48, 40)
    files = write(case, tmp_path)
    case.numbers.labels[0, 0] -= 1
    assert different(expected(case), output(tmp_path, files))


def test_without_gates_every_picture_goes_to_the_end(tmp_path):
    full = random_case(7, 6, 16, 20)
    bare = Case("no gates", c_numbers(full, gates=()), full.embeddings, full.variances)
    found = output(tmp_path, write(bare, tmp_path), *SANITISED)
    assert found == expected(bare)
    assert {line.split()[0] for line in found.splitlines()} == {"2"}


def c_numbers(case: Case, **changes):
    import dataclasses

    return dataclasses.replace(case.numbers, **changes)


def test_stage_files_come_back_byte_for_byte_and_aligned(tmp_path):
    case = random_case(8, 3, 8, 1)
    random = np.random.default_rng(0)
    contents = [random.integers(0, 256, size).astype(np.uint8).tobytes() for size in (1, 31, 4097)]
    files = c_source.sources(case.numbers, LAYOUT, [(f"s{k}", content) for k, content in enumerate(contents)], ())
    program = """
#include <stdio.h>
#include "clip_rescue.h"
int clip_rescue_run_stage(int stage, const int8_t *in[], int8_t *out[]) { (void)stage; (void)in; (void)out; return 1; }
int main(void) {
  size_t k, n;
  for (k = 0; k < CLIP_RESCUE_STAGES; k++) {
    printf("%d ", (int)((uintptr_t)clip_rescue_stages[k].data % 16));
    for (n = 0; n < clip_rescue_stages[k].bytes; n++) printf("%02x", clip_rescue_stages[k].data[n]);
    printf("\\n");
  }
  for (k = 0; k < CLIP_RESCUE_LABELS; k++) printf("%s\\n", clip_rescue_names[k]);
  return 0;
}
"""
    for name, text in {**files, "main.c": program}.items():
        (tmp_path / name).write_text(text)
    lines = output(tmp_path, sorted(tmp_path.glob("*.c"))).splitlines()
    assert lines[:3] == [f"0 {content.hex()}" for content in contents]
    assert tuple(lines[3:]) == case.numbers.names


def test_a_stage_that_fails_is_told(tmp_path):
    case = random_case(9, 3, 8, 1)
    write(case, tmp_path)
    (tmp_path / "playback.c").write_text(
        '#include "clip_rescue.h"\n'
        "int clip_rescue_run_stage(int stage, const int8_t *in[], int8_t *out[]) { (void)in; (void)out; return 7 + stage; }\n"
        "int main(void) { static const int8_t image[CLIP_RESCUE_IMAGE_BYTES]; clip_rescue_answer a;\n"
        "  return clip_rescue_classify(image, &a) == 7 ? 0 : 1; }\n"
    )
    output(tmp_path, sorted(tmp_path.glob("*.c")))


def test_a_cplusplus_program_can_include_the_header(tmp_path):
    case = random_case(10, 3, 8, 1)
    write(case, tmp_path)
    (tmp_path / "a.cc").write_text('#include "clip_rescue.h"\nint answer(const int8_t* p, clip_rescue_answer* a);\n')
    cxx = shutil.which("c++") or shutil.which("g++")
    assert cxx is not None, "expected a C++ compiler, found none; on Debian: apt-get install g++"
    done = subprocess.run(
        [cxx, "-std=c++17", "-Wall", "-Werror", "-fsyntax-only", str(tmp_path / "a.cc")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_example_registers_the_operators_and_no_more():
    case = random_case(11, 3, 8, 1)
    text = c_source.sources(case.numbers, LAYOUT, [("s", b"x")] * 3, ("CONV_2D", "ADD"))["tflm_stages.cc"]
    assert "kOperators = 3;" in text
    added = [line.strip() for line in text.splitlines() if "resolver.Add" in line]
    assert added == ["resolver.AddAdd();", "resolver.AddConv2D();", "resolver.AddEthosU();"]
    assert "@" not in text
    assert len(set(TFLM.values())) == len(TFLM)


def test_c_has_no_floating_point():
    """Not one float, double or function of libm in what runs on the part."""
    text = (Path(c_source.__file__).parent / "c" / "clip_rescue.c").read_text("utf-8")
    assert not [word for word in ("float", "double", "math.h", "exp(", "sqrt(") if word in text]
