"""The float file of a build and its dynamic-range form, kept beside a bundle: two of the peers it is timed against.

Dynamic range is what Google's ai-edge-quantizer recommends for processors: int8 weights, activations in float32 that are
quantized on the way into each product.
"""

from __future__ import annotations

from pathlib import Path

from convert.support.files import write_atomically
from convert.support.quiet import quiet
from convert.tflite.flatbuffer import read_model, write_model

KINDS = ("float", "dynamic")


def float_path(bundle: Path, kind: str) -> Path:
    """NAME-float.tflite or NAME-dynamic.tflite beside NAME.tflite."""
    return bundle.with_name(f"{bundle.stem}-{kind}.tflite")


def dynamic_range(float_file: bytes) -> bytes:
    """The float32 file with int8 weights, by the recipe dynamic_wi8_afp32; constants inside the flatbuffer."""
    with quiet():
        from ai_edge_quantizer import quantizer, recipe

        ours = quantizer.Quantizer(float_file)
        ours.load_quantization_recipe(recipe.dynamic_wi8_afp32())
        result = ours.quantize(enable_progress_report=False)
    return write_model(read_model(bytes(result.quantized_model)))


def write_float_files(bundle: Path, float_file: bytes) -> tuple[Path, ...]:
    """Both files stand beside the bundle."""
    contents = {"float": float_file, "dynamic": dynamic_range(float_file)}
    for kind in KINDS:
        write_atomically(float_path(bundle, kind), contents[kind])
    return tuple(float_path(bundle, kind) for kind in KINDS)
