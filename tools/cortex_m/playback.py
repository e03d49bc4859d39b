"""A C program that plays recorded stages to the microcontroller's driver and prints its answers; and what Python's reference says.

The stages' own kernels are left out: they are TensorFlow Lite Micro's, not ours. All that C computes after a stage is in.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convert.micro.arithmetic import classify
from convert.micro.c_source import Layout, sources
from convert.micro.constants import GateNumbers, LayerNumbers, Numbers, quantized_multiplier

TOP = 5
LAYOUT = Layout("playback", 2, 4, 4, 64, 1024, "of no importance here")
PROGRAM = """\
#include <stdio.h>
#include <string.h>

#include "clip_rescue.h"

#define IMAGES {images}

static const int8_t embeddings[IMAGES][CLIP_RESCUE_STAGES][CLIP_RESCUE_EMBEDDING] = {{
{embeddings}
}};
static const int8_t variances[IMAGES][CLIP_RESCUE_STAGES] = {{
{variances}
}};
static int shown, runs;

int clip_rescue_run_stage(int stage, const int8_t *in[], int8_t *out[]) {{
  if (stage != runs++ || in[0] == NULL) return 1;
  memcpy(out[0], embeddings[shown][stage], CLIP_RESCUE_EMBEDDING);
  if (stage < CLIP_RESCUE_STAGES - 1) {{
    *out[1] = variances[shown][stage];
    memset(out[2], stage, CLIP_RESCUE_HIDDEN_BYTES);
    memset(out[3], stage, CLIP_RESCUE_HIDDEN_BYTES);
  }}
  return 0;
}}

int main(void) {{
  static const int8_t image[CLIP_RESCUE_IMAGE_BYTES];
  clip_rescue_answer answer;
  int k;
  for (shown = 0; shown < IMAGES; shown++) {{
    runs = 0;
    if (clip_rescue_classify(image, &answer) != 0 || runs != answer.stage + 1) return 1;
    printf("%d %d", answer.stage, answer.none);
    for (k = 0; k < answer.gates; k++) printf(" g%d", answer.gate_score[k]);
    for (k = 0; k < CLIP_RESCUE_TOP; k++) {{
      printf(" %ld:%ld:%lu", (long)answer.label[k], (long)answer.score[k], (unsigned long)answer.probability[k]);
    }}
    printf("\\n");
  }}
  return 0;
}}
"""


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A model's numbers, and what its stages give: embeddings int8 [n, stages, E], variances int8 [n, stages - 1]."""

    name: str
    numbers: Numbers
    embeddings: NDArray[np.int8]
    variances: NDArray[np.int8]


def write(case: Case, folder: Path) -> list[Path]:
    """The C sources of the program in `folder`, headers beside them."""
    files = sources(case.numbers, LAYOUT, [(f"stage_{k}.tflite", b"TFL3") for k in range(case.numbers.stages)], ())
    del files["tflm_stages.cc"]
    padded = np.concatenate([case.variances, np.zeros((len(case.variances), 1), np.int8)], 1)
    files["playback.c"] = PROGRAM.format(
        images=len(case.embeddings), embeddings=_braces(case.embeddings), variances=_braces(padded)
    )
    for name, text in files.items():
        (folder / name).write_text(text)
    return sorted(folder / name for name in files if name.endswith(".c"))


def expected(case: Case) -> str:
    """What the program must print, by the reference."""
    lines = []
    top = min(TOP, len(case.numbers.names))
    for codes, variances in zip(case.embeddings, case.variances, strict=True):
        answer = classify(list(codes), variances.tolist(), case.numbers, top)
        labels = zip(answer.top, answer.scores, answer.shares, strict=True)
        words = [f"{answer.stage} {int(answer.none)}", *(f"g{score}" for score in answer.gates)]
        lines.append(" ".join([*words, *(f"{k}:{score}:{share}" for k, score, share in labels)]) + "\n")
    return "".join(lines)


def with_edges(case: Case) -> Case:
    """The case with embeddings at the ends of what int8 holds, of zeros, and of one number apart from zeros."""
    _, stages, width = case.embeddings.shape
    zeros = np.array(case.numbers.embedding_zero, np.int8)
    edges = [np.repeat(zeros[:, None], width, 1)]  # zeros: no direction at all
    edges += [np.full((stages, width), value, np.int8) for value in (-128, 127)]
    alternating = np.where(np.arange(width) % 2, 127, -128).astype(np.int8)
    one = edges[0].copy()
    one[:, 0] += 1
    edges += [np.tile(alternating, (stages, 1)), one]
    variances = np.resize(np.array([-128, 0, 127], np.int8), (len(edges), stages - 1))
    return Case(
        case.name, case.numbers, np.concatenate([case.embeddings, np.stack(edges)]), np.concatenate([case.variances, variances])
    )


def random_case(seed: int, labels: int, width: int, images: int, hidden: int = 6) -> Case:
    """A model of three stages whose numbers are drawn at random, its gates of one layer and of two, its images near its labels."""
    random = np.random.default_rng(seed)
    codes = random.integers(-127, 128, (labels, width)).astype(np.int8)
    gates = (_gate(random, 0), _gate(random, hidden))
    zeros = tuple(int(zero) for zero in random.integers(-20, 20, 3))
    names = tuple(f'label {k} ?? "é\\' for k in range(labels))
    scale = 1 / (73 * width**0.5)  # rows of such codes have norm 1, more or less
    numbers = Numbers(names, codes, scale, zeros, gates, round(25 * scale * 1.4427 * 2**32), round(0.2 / scale * 2**16))
    near = codes[random.integers(0, labels, (images, 3))] * random.uniform(0, 0.8, (images, 3, 1))
    noisy = near + random.normal(0, 30, near.shape) + np.array(zeros)[None, :, None]
    embeddings = np.clip(np.rint(noisy), -128, 127).astype(np.int8)
    return Case(f"random numbers {seed}", numbers, embeddings, random.integers(-128, 128, (images, 2)).astype(np.int8))


def _gate(random: np.random.Generator, hidden: int) -> GateNumbers:
    sizes = [3, *([hidden] if hidden else []), 1]
    layers = []
    for number, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        multiplier, shift = quantized_multiplier(float(random.uniform(0.001, 0.004)))
        last = number == len(sizes) - 2
        zero = int(random.integers(-20, 20)) if last else -128
        layers.append(
            LayerNumbers(
                random.integers(-127, 128, (outputs, inputs)).astype(np.int8),
                random.integers(-2000, 2000, outputs).astype(np.int32),
                -128 if number else 3,
                zero,
                multiplier,
                shift,
                -128,
            )
        )
    slopes = (200 << 16, -150 << 16, int(0.7 * 2**40))
    offsets = (int(-60.3 * 2**40), int(20.7 * 2**40), int(-4.2 * 2**40))
    return GateNumbers(slopes, offsets, -100, tuple(layers), 0)


def _braces(values: NDArray[np.int8]) -> str:
    """Nested arrays as C writes them."""
    if values.ndim == 1:
        return "{" + ", ".join(map(str, values.tolist())) + "}"
    return ",\n".join("{" + _braces(row) + "}" if row.ndim > 1 else _braces(row) for row in values)


def different(wanted: str, found: str) -> Sequence[int]:
    """The images on which two outputs differ, all where one of them is shorter."""
    ours, theirs = wanted.splitlines(), found.splitlines()
    if len(ours) != len(theirs):
        return range(len(ours))
    return [number for number, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b]
