"""TensorFlow Lite Micro in a process of its own, which a faulty file may end: run as a program by `tflm.py`.

    python -m convert.micro.tflm_child STAGE.tflite INPUTS.npz OUTPUTS.npz COUNT ARENA_BYTES

INPUTS holds `0`, `1`, … [images, bytes] for the inputs in the file's order; OUTPUTS gets the same of its COUNT outputs (the library
crashes when it is asked for one too many). Arena 0: as much as it likes. How much of it was used ends up on standard error, in the
library's own words.
"""

from __future__ import annotations

import sys

import numpy as np


def main(model: str, given: str, found: str, count: int, arena: int) -> None:
    """OUTPUTS holds what the file gives for every image."""
    from tflite_micro import runtime

    interpreter = runtime.Interpreter.from_file(model, arena_size=arena or None)
    with np.load(given, allow_pickle=False) as arrays:
        inputs = [arrays[str(k)] for k in range(len(arrays.files))]
    outputs: list[list[np.ndarray[tuple[int, ...], np.dtype[np.int8]]]] = [[] for _ in range(count)]
    shapes = [tuple(int(n) for n in interpreter.get_input_details(k)["shape"]) for k in range(len(inputs))]
    for image in range(len(inputs[0])):
        for k, values in enumerate(inputs):
            interpreter.set_input(np.ascontiguousarray(values[image].reshape(shapes[k])), k)
        interpreter.invoke()
        for k in range(count):
            outputs[k].append(interpreter.get_output(k).reshape(-1).copy())
    np.savez(found, **{str(k): np.stack(values) for k, values in enumerate(outputs)})
    interpreter.print_allocations()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
