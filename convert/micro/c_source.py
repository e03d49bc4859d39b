"""The C of a model: `clip_rescue_model.{h,c}` with all constants, a file of bytes for each stage, and what is the same for every model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from string import Template

import numpy as np
from numpy.typing import NDArray

from convert.micro.constants import TABLE, GateNumbers, LayerNumbers, Numbers
from convert.micro.split import TFLM

AS_THEY_ARE = ("clip_rescue.h", "clip_rescue.c")
WIDTH = 110  # columns of a line of numbers


@dataclass(frozen=True, slots=True)
class Layout:
    """What C must know of the stages beside their numbers: `inputs` of every stage but the first, sizes in bytes, and the arena's."""

    title: str
    inputs: int
    height: int
    width: int
    hidden_bytes: int
    arena_bytes: int
    arena_note: str


def sources(numbers: Numbers, layout: Layout, stages: Sequence[tuple[str, bytes]], operators: Sequence[str]) -> dict[str, str]:
    """Every source file by name; `stages` are the name and the content of each stage's file, `operators` what they are made of."""
    found = {name: _template(name).template for name in AS_THEY_ARE}
    found["tflm_stages.cc"] = _resolver(_template("tflm_stages.cc.in"), operators)
    found["clip_rescue_model.h"] = _header(numbers, layout)
    found["clip_rescue_model.c"] = _model(numbers, layout, [len(content) for _, content in stages])
    stage = _template("clip_rescue_stage.c.in")
    for number, (name, content) in enumerate(stages):
        values = _numbers(np.frombuffer(content, np.uint8))
        found[f"clip_rescue_stage_{number}.c"] = stage.substitute(
            number=number, title=layout.title, file=name, size=len(content), numbers=values
        )
    return found


def _header(numbers: Numbers, layout: Layout) -> str:
    return _template("clip_rescue_model.h.in").substitute(
        title=layout.title,
        stages=numbers.stages,
        gates=len(numbers.gates),
        gate_width=max([3, *(len(layer.bias) for gate in numbers.gates for layer in gate.layers)]),
        inputs=layout.inputs,
        height=layout.height,
        width=layout.width,
        image_bytes=3 * layout.height * layout.width,
        hidden_bytes=layout.hidden_bytes,
        embedding=numbers.labels.shape[1],
        labels=len(numbers.names),
        sharpness=numbers.sharpness,
        none_limit=numbers.none_limit,
        label_scale=f"{numbers.label_scale:.9e}",
        arena=layout.arena_bytes,
        arena_note=layout.arena_note,
        powers=len(TABLE),
    )


def _model(numbers: Numbers, layout: Layout, sizes: Sequence[int]) -> str:
    parts = [f"/* {layout.title}. Written by `convert build`; do not edit. */", '#include "clip_rescue_model.h"', ""]
    parts += [f"extern const uint8_t clip_rescue_stage_{k}[{size}];" for k, size in enumerate(sizes)]
    entries = [f"{{clip_rescue_stage_{k}, {size}u}}" for k, size in enumerate(sizes)]
    parts += ["", _array("const clip_rescue_stage clip_rescue_stages[CLIP_RESCUE_STAGES]", entries)]
    parts.append(_array("const int32_t clip_rescue_embedding_zero[CLIP_RESCUE_STAGES]", map(str, numbers.embedding_zero)))
    parts.append(_array(f"const uint32_t clip_rescue_powers[{len(TABLE)}]", (f"{value}u" for value in TABLE)))
    for k, gate in enumerate(numbers.gates):
        for n, layer in enumerate(gate.layers):
            parts.append(_array(f"static const int8_t weights_{k}_{n}[{layer.weights.size}]", map(str, layer.weights.ravel())))
            parts.append(_array(f"static const int32_t bias_{k}_{n}[{layer.bias.size}]", map(str, layer.bias)))
    gates = [_gate(k, gate) for k, gate in enumerate(numbers.gates)] or [_gate(0, None)]
    parts.append(_array("const clip_rescue_gate clip_rescue_gates[CLIP_RESCUE_GATES > 0 ? CLIP_RESCUE_GATES : 1]", gates))
    rows = ["{" + _numbers(row) + "}" for row in numbers.labels]
    parts.append(_array("const int8_t clip_rescue_labels[CLIP_RESCUE_LABELS][CLIP_RESCUE_EMBEDDING]", rows))
    names = [_text(name) for name in numbers.names]
    parts.append(_array("const char *const clip_rescue_names[CLIP_RESCUE_LABELS]", names))
    return "\n".join(parts)


def _gate(number: int, gate: GateNumbers | None) -> str:
    if gate is None:
        return "{{0, 0, 0}, {0, 0, 0}, 0, 0, {{0, 0, 0, 0, 0, 0, 0, 0, 0}, {0, 0, 0, 0, 0, 0, 0, 0, 0}}, 128}"
    slopes, offsets = (", ".join(_wide(value) for value in values) for values in (gate.slopes, gate.offsets))
    layers = [_layer(number, n, layer) for n, layer in enumerate(gate.layers)]
    layers += ["{0, 0, 0, 0, 0, 0, 0, 0, 0}"] * (2 - len(layers))
    return f"{{{{{slopes}}},\n   {{{offsets}}},\n   {gate.variance_zero}, {len(gate.layers)}, {{{', '.join(layers)}}}, {gate.threshold}}}"


def _layer(gate: int, number: int, layer: LayerNumbers) -> str:
    outputs, inputs = layer.weights.shape
    facts = (inputs, outputs, layer.input_zero, layer.output_zero, layer.multiplier, layer.shift, layer.least)
    return f"{{weights_{gate}_{number}, bias_{gate}_{number}, {', '.join(str(fact) for fact in facts)}}}"


def _template(name: str) -> Template:
    """A file of the folder `c`."""
    return Template(files("convert.micro").joinpath("c", name).read_text("utf-8"))


def _resolver(template: Template, operators: Sequence[str]) -> str:
    names = sorted(TFLM[name] for name in operators)
    add = "\n".join(f"    resolver.Add{name}();" for name in (*names, "EthosU"))
    return template.substitute(operators=len(names) + 1, add=add)


def _array(declaration: str, entries: Iterable[str]) -> str:
    return f"{declaration} = {{\n  {_lines(entries)}\n}};\n"


def _lines(entries: Iterable[str]) -> str:
    """The entries with commas between, in lines of WIDTH columns at most where they are short."""
    lines, line = [], ""
    for entry in entries:
        if line and len(line) + len(entry) + 2 > WIDTH:
            lines.append(line)
            line = ""
        line = f"{line}, {entry}" if line else entry
    return ",\n  ".join([*lines, line])


def _numbers(values: NDArray[np.int8] | NDArray[np.uint8]) -> str:
    """Bytes as decimal numbers, thirty to a line: millions of them, so one line at a time."""
    rows = (values[start : start + 30].tolist() for start in range(0, len(values), 30))
    return ",\n".join(",".join(map(str, row)) for row in rows)


def _wide(value: int) -> str:
    return f"INT64_C({value})"


def _text(name: str) -> str:
    """A C string of the name in UTF-8; what is not plain ASCII stands in octal, which no following digit can lengthen."""
    plain = {ord('"'): '\\"', ord("\\"): "\\\\", ord("?"): "\\?"}
    return '"' + "".join(plain.get(byte, chr(byte) if 32 <= byte < 127 else f"\\{byte:03o}") for byte in name.encode()) + '"'
