"""The noise-to-signal ratio after each block, against the definition computed from other parts."""

import numpy as np
import pytest
import torch

from calibration.samples import pixels
from convert.measure.noise import Noise, measure
from convert.stages.stage import stream_role
from convert.tflite.flatbuffer import read_model, signatures, text
from convert.tflite.interpreter import preserving_interpreter
from tests.convert.conversion import images, interpreter_invoke, run
from tests.convert.small import hidden_states, run_stages
from tflite_runtime_app.inference.engine import LiteRtEngine


def centred(x: np.ndarray) -> np.ndarray:
    return x - x.mean(-1, keepdims=True)


def original_means_direction(conversion) -> np.ndarray:
    """The unit vector that stands, in the stages' basis, for the mean over the original tower's channels.

    Found without the rewrites' help: the least squares map from open_clip's hidden states to the stages' takes ones to it. Where the
    stream was centred the ones themselves are gone; then it is the one direction that no hidden state has a part in.
    """
    chosen = torch.from_numpy(pixels(images(conversion.visual, 8, 12)))
    ours = run_stages(conversion.stages, chosen)[0]["hidden"].double().numpy()
    rows = ours.reshape(-1, ours.shape[-1])
    _, sizes, directions = np.linalg.svd(rows)
    width = rows.shape[1]
    if sizes[-1] > 1e-3 * sizes[0]:
        return np.full(width, width**-0.5)  # neither centred nor rotated
    assert sizes[-2] > 1e-3 * sizes[0]
    return directions[-1]


def real_values(codes: np.ndarray, facts) -> np.ndarray:
    return (codes.astype(np.float64) - facts.zero_points[0]) * facts.scales[0]


def measured(conversion, chosen) -> Noise:
    return measure(conversion.integer_file, conversion.stages, conversion.by_name, conversion.grids, chosen)


def test_after_the_exits_it_is_what_the_handed_over_codes_say(converted):
    """Error from the signatures' own outputs on the same kernels, signal from hooks on open_clip's blocks."""
    chosen = images(converted.visual, 3, 9)
    found = measured(converted, chosen)
    assert found.images == 3
    engine, blocks = LiteRtEngine(converted.integer_file, op_resolver="builtin"), len(converted.stages) - 1
    handed = ("hidden", "hidden_lo") if converted.stream == "two_term" else ("hidden",)
    noise, signal, mean = np.zeros(blocks), np.zeros(blocks), original_means_direction(converted)
    for image in chosen:
        exact = run_stages(converted.stages, torch.from_numpy(pixels(image[None])))
        hooked, _ = hidden_states(converted.visual, torch.from_numpy(pixels(image[None])))
        for stage, _, outputs in run(converted, engine.invoke, image):
            if stage.part.last:
                break
            k = stage.part.index
            real = sum(real_values(outputs[name], engine.signatures[f"stage_{k}"].outputs[name]) for name in handed)
            signal[k] += (centred(hooked[stage.part.blocks_done - 1].double().numpy()) ** 2).sum()
            error = real - exact[k]["hidden"].numpy()
            noise[k] += ((error - (error @ mean)[..., None] * mean) ** 2).sum()
    wanted = np.sqrt(noise / signal)
    assert wanted.min() > 0.002
    for stage, ratio in zip(converted.stages, wanted, strict=False):
        assert found.nsr[stage.part.blocks_done - 1] == pytest.approx(ratio, rel=1e-3)


def test_after_the_last_block_it_is_the_class_tokens(rotated):
    chosen = images(rotated.visual, 2, 10)
    model, interpreter = read_model(rotated.integer_file), preserving_interpreter(rotated.integer_file)
    (graph,) = (graph for key, graph, _, _ in signatures(model) if key == "stage_2")
    wanted_role = stream_role(3)
    number = next(
        n for n, t in enumerate(graph.tensors) if rotated.by_name.get(text(t.name)) == wanted_role and int(np.prod(t.shape)) == 64
    )
    noise, signal, mean = 0.0, 0.0, original_means_direction(rotated)
    for image in chosen:
        list(run(rotated, interpreter_invoke(interpreter), image))
        codes = interpreter.get_tensor(number, model.subgraphs.index(graph)).astype(np.float64).reshape(1, 64)
        grid, heard = rotated.grids[wanted_role], {}

        def listen(role, x, heard=heard):
            heard.setdefault(role, x.double().numpy())

        for stage in rotated.stages:
            stage.tap = listen
        run_stages(rotated.stages, torch.from_numpy(pixels(image[None])))
        for stage in rotated.stages:
            stage.tap = None
        exact = heard[wanted_role].reshape(1, 64)
        error = (codes - grid.zero_point) * grid.scale - exact
        noise += ((error - np.outer(error @ mean, mean)) ** 2).sum()
        signal += (
            centred(hidden_states(rotated.visual, torch.from_numpy(pixels(image[None])))[0][2][:, 0].double().numpy()) ** 2
        ).sum()
    assert measured(rotated, chosen).nsr[2] == pytest.approx(np.sqrt(noise / signal), rel=1e-3)


def test_power_is_the_square():
    assert Noise((0.1, 0.5), 2).power == pytest.approx((0.01, 0.25))


def test_a_coarser_stream_is_noisier(rotated):
    """The same file read on a stream grid twice as coarse would be twice as far off: the measure follows the grid it is given."""
    chosen = images(rotated.visual, 2, 11)
    role = stream_role(1)
    doubled = {**rotated.grids, role: type(rotated.grids[role])(rotated.grids[role].scale * 2, rotated.grids[role].zero_point)}
    wrong = measure(rotated.integer_file, rotated.stages, rotated.by_name, doubled, chosen).nsr
    right = measured(rotated, chosen).nsr
    assert wrong[0] == pytest.approx(1.0, abs=0.2)
    assert right[0] < 0.3
    assert wrong[1:] == pytest.approx(right[1:])


def test_two_terms_are_less_noisy_than_one(rotated, two_term):
    """What they are for; both files run on the same images."""
    chosen = images(rotated.visual, 3, 13)
    assert measured(two_term, chosen).nsr[-1] < measured(rotated, chosen).nsr[-1]
