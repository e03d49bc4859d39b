"""The workshop's command line: every command with its options, each a function of `convert.commands`."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer

from calibration.families import DEFAULT, FAMILIES
from calibration.gates import KINDS as GATES
from calibration.observers import OBSERVERS
from calibration.search import SEARCH
from convert.bench import huge_pages
from convert.options import BuildOptions, ExitOptions, ModelOptions
from convert.support.errors import ConvertError, UsageError
from convert.support.label_option import labels_of_option
from targets.profile import ProfileError
from targets.profile import names as target_names
from tflite_runtime_app import __version__
from tflite_runtime_app.commands import edge
from tflite_runtime_app.errors import AppError
from tflite_runtime_app.escaping.terminal import escaped, escaped_lines
from tflite_runtime_app.exits.risk import ALPHA

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Turn a CLIP image tower into one staged full-integer TensorFlow Lite file.",
)


def _readable(given: Any) -> Any:
    """The label lists given are lists of labels: said before torch and a model are loaded."""
    for option in [given] if isinstance(given, str) else given or ():
        labels_of_option(option)
    return given


Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="A model folder, an embedded model's name, one of open_clip's or of its hf-hub:ORG/NAME; default: the embedded one.",
    ),
]
Pretrained = Annotated[
    str | None, typer.Option("--pretrained", help="open_clip's tag for the weights, or a .safetensors or .pt file.")
]
Models = Annotated[
    Path | None, typer.Option("--models", help="The folder of embedded models (else CLIP_RESCUE_MODELS, else the clone's).")
]
Labels = Annotated[
    str | None,
    typer.Option(
        "--labels",
        callback=_readable,
        help="A file with one label a line, or names separated by commas; default: the model's own.",
    ),
]
Target = Annotated[str, typer.Option("--target", help=f"The board: {', '.join(target_names())}.")]
Exits = Annotated[
    str | None, typer.Option("--exits", help="Blocks done at each exit, as in 4,6,8; default: a third, a half, two thirds.")
]
Images = Annotated[
    list[Path] | None, typer.Option("--images", help="Folder, tar file, zip file or image; may be given several times.")
]
ObserverName = Annotated[
    str | None,
    typer.Option(
        "--observer", help=f"How ranges are chosen: {', '.join(OBSERVERS)}; or {SEARCH} for each kind of tensor, the default."
    ),
]
Stream = Annotated[
    str | None,
    typer.Option("--stream", help="The residual stream: two_term (two int8 tensors) or int8; default: the target's."),
]
Seed = Annotated[int, typer.Option("--seed", help="Seed of everything drawn at random.")]
InOrder = Annotated[
    bool,
    typer.Option(
        "--in-order",
        help="The images lie shuffled already: cut them as they come, so that verify --skip leaves out what was used.",
    ),
]
Ladder = Annotated[
    str | None, typer.Option("--ladder", help="The last step of the ladder to take, all by default; an unknown name lists them.")
]
Policy = Annotated[str, typer.Option("--policy", help=f"Who decides when an image leaves: {', '.join(FAMILIES)}.")]
Risk = Annotated[float, typer.Option("--risk", help="Share of images that leaving early may harm, held with 90 % confidence.")]
Budget = Annotated[float | None, typer.Option("--budget", help="Share of the full depth's MACs to aim for, as in 0.75.")]
GateKind = Annotated[str | None, typer.Option("--gate", help=f"Kind of gate: {', '.join(GATES)}; default: the better one.")]
SomeImages = Annotated[
    list[Path], typer.Option("--images", help="Folder, tar file, zip file or image; may be given several times.")
]
Skip = Annotated[int, typer.Option("--skip", help="Leave out the first images.", min=0)]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]
Force = Annotated[bool, typer.Option("--force", help="Write over files that exist.")]


@app.command()
def build(
    target: Target = "rpi",
    model: Model = None,
    pretrained: Pretrained = None,
    images: Images = None,
    labels: Labels = None,
    exits: Exits = None,
    out: Annotated[Path | None, typer.Option("--out", help="The bundle; default: MODEL-TARGET.tflite.")] = None,
    report: Annotated[Path | None, typer.Option("--report", help="Folder for the report; default: beside the bundle.")] = None,
    observer: ObserverName = None,
    stream: Stream = None,
    seed: Seed = 0,
    in_order: InOrder = False,
    ladder: Ladder = None,
    policy: Policy = DEFAULT,
    risk: Risk = ALPHA,
    budget: Budget = None,
    gate: GateKind = None,
    force: Force = False,
    keep_float: Annotated[
        bool, typer.Option("--keep-float", help="Keep the float and the dynamic-range file beside the bundle, for bench.")
    ] = False,
    with_text: Annotated[
        bool, typer.Option("--with-text", help="Also write the text tower beside the bundle: any label on the board.")
    ] = False,
    models: Models = None,
) -> None:
    """Build the bundle for a board: one .tflite with all stages, gates, labels and manifest; and its report."""
    from convert.commands import build as command

    options = BuildOptions(
        model=ModelOptions(model, pretrained, models),
        target=target,
        images=tuple(images or ()),
        labels=labels,
        exits=exits,
        observer=observer,
        stream=stream,
        seed=seed,
        in_order=in_order,
        ladder=ladder,
        leaving=ExitOptions(policy, risk, budget, gate),
    )
    command.build(options, command.BuildFiles(out, report, force, keep_float, with_text))


@app.command()
def calibrate(
    images: SomeImages,
    model: Model = None,
    labels: Labels = None,
    exits: Exits = None,
    target: Target = "rpi",
    observer: ObserverName = None,
    stream: Stream = None,
    seed: Seed = 0,
    in_order: InOrder = False,
    ladder: Ladder = None,
    policy: Policy = DEFAULT,
    risk: Risk = ALPHA,
    budget: Budget = None,
    gate: GateKind = None,
    models: Models = None,
) -> None:
    """Calibrate a model folder on images and keep the numbers in its calibration.npz, so that it builds without them."""
    from convert.commands import calibrate as command

    options = BuildOptions(
        model=ModelOptions(model, None, models),
        target=target,
        images=tuple(images),
        labels=labels,
        exits=exits,
        observer=observer,
        stream=stream,
        seed=seed,
        in_order=in_order,
        ladder=ladder,
        leaving=ExitOptions(policy, risk, budget, gate),
    )
    command.calibrate(options)


@app.command()
def evaluate(
    file: Path,
    images: Images = None,
    labels: Labels = None,
    imagenet: Annotated[
        Path | None,
        typer.Option("--imagenet", help="ImageNet-1k's validation folder, a folder per WordNet id, in place of --images."),
    ] = None,
    skip: Skip = 0,
    out: Annotated[Path, typer.Option("--out", help="Folder for page, figures and images; a run cut off goes on.")] = Path(
        "evaluation"
    ),
    as_json: AsJson = False,
    model: Model = None,
    pretrained: Pretrained = None,
    models: Models = None,
) -> None:
    """Measure what leaving early does: rescued and harmed images in float and INT8, accuracy over cost, every policy."""
    from convert.commands import evaluate as command

    given = command.EvaluationImages(tuple(images or ()), imagenet, skip)
    command.evaluate(file, given, labels, out, as_json, ModelOptions(model, pretrained, models))


@app.command()
def exits(
    images: SomeImages,
    model: Model = None,
    pretrained: Pretrained = None,
    labels: Labels = None,
    count: Annotated[int, typer.Option("--count", help="Held-apart images to measure on.", min=1)] = 1000,
    out: Annotated[Path, typer.Option("--out", help="The table as JSON.")] = Path("exits.json"),
    seed: Seed = 0,
    in_order: InOrder = False,
    models: Models = None,
) -> None:
    """Show which token and which head read every block best: class token or SSA, shared or fitted, float or INT8."""
    from convert.commands import exits as command

    chosen = ModelOptions(model, pretrained, models)
    command.exits(BuildOptions(model=chosen, images=tuple(images), labels=labels, seed=seed, in_order=in_order), count, out)


@app.command()
def heads(
    images: SomeImages,
    exits: Annotated[str, typer.Option("--exits", help="Blocks to make heads for.")] = "4,6,8,10",
    kind: Annotated[
        str, typer.Option("--kind", help="trained: attention and two layers, by gradient; fitted: one, by ridge regression.")
    ] = "trained",
    views: Annotated[int, typer.Option("--views", help="Random views of every image to train on.", min=1)] = 8,
    model: Model = None,
    labels: Annotated[
        list[str] | None,
        typer.Option(
            "--labels",
            callback=_readable,
            help="As elsewhere; given several times, heads are trained by each list and judged by the first.",
        ),
    ] = None,
    seed: Seed = 0,
    models: Models = None,
) -> None:
    """Make heads of the exits' own from images, thousands of them, and keep them in the model's folder."""
    from convert.commands import heads as command

    options = command.HeadOptions(exits, kind, views, seed)
    command.heads(tuple(images), ModelOptions(model, None, models), tuple(labels or ()), options)


@app.command()
def culprit(
    images: Images = None,
    model: Model = None,
    pretrained: Pretrained = None,
    exits: Exits = None,
    stream: Stream = None,
    observer: ObserverName = "mse",
    count: Annotated[int, typer.Option("--count", help="Images to measure on.", min=1)] = 64,
    out: Annotated[Path, typer.Option("--out", help="Folder for the chart and the figures.")] = Path("culprit"),
    seed: Seed = 0,
    models: Models = None,
) -> None:
    """Show which tensors' quantization turns the embedding: the noise that each class and each block adds alone."""
    from convert.commands import culprit as command

    options = BuildOptions(
        model=ModelOptions(model, pretrained, models),
        images=tuple(images or ()),
        exits=exits,
        observer=observer,
        stream=stream,
        seed=seed,
    )
    command.culprit(options, count, out)


@app.command()
def ladder(
    images: SomeImages,
    model: Model = None,
    pretrained: Pretrained = None,
    labels: Labels = None,
    exits: Exits = None,
    count: Annotated[int, typer.Option("--count", help="Held-apart images to measure each step on.", min=1)] = 400,
    out: Annotated[Path, typer.Option("--out", help="Folder for the page and the figures.")] = Path("ladder"),
    factorial: Annotated[bool, typer.Option(help="Also measure rotation x observer x stream, thirty files more.")] = True,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the figures in the model's folder: its builds' reports show them.")
    ] = False,
    seed: Seed = 0,
    models: Models = None,
) -> None:
    """Measure every step of the ladder on one page: from naive min-max INT8 to the file that `build` makes."""
    from convert.commands import ladder as command

    chosen = ModelOptions(model, pretrained, models)
    options = BuildOptions(model=chosen, images=tuple(images), labels=labels, exits=exits, seed=seed)
    command.ladder(options, count, out, factorial, keep)


@app.command()
def inspect(file: Path, as_json: AsJson = False) -> None:
    """Show what a bundle holds: signatures, scales, exits, thresholds, preprocessing, calibration, operators, hashes."""
    from convert.commands import inspect as command

    command.inspect(file, as_json)


@app.command()
def labels(
    file: Path,
    labels: Annotated[
        str, typer.Option("--labels", callback=_readable, help="A file with one label a line, or names separated by commas.")
    ],
    out: Annotated[Path, typer.Option("--out", help="The label matrix to write.")] = Path("labels.npz"),
    model: Model = None,
    pretrained: Pretrained = None,
    force: Force = False,
    models: Models = None,
) -> None:
    """Make a label matrix for a bundle, with the text tower of the model that it was built from."""
    from convert.commands import labels as command

    command.labels(file, labels, out, ModelOptions(model, pretrained, models), force)


@app.command()
def text(
    file: Path,
    out: Annotated[
        Path | None, typer.Option("--out", help="The text tower; default: NAME.text.tflite beside the bundle.")
    ] = None,
    weights: Annotated[
        str | None, typer.Option("--weights", help="int8 or float16; default: the smaller one that keeps float's vectors.")
    ] = None,
    model: Model = None,
    pretrained: Pretrained = None,
    force: Force = False,
    models: Models = None,
) -> None:
    """Write the text tower beside a bundle: `classify` then takes labels as they are typed, without torch."""
    from convert.commands import text as command

    command.text(file, out, weights, ModelOptions(model, pretrained, models), force)


@app.command()
def verify(
    file: Path,
    images: SomeImages,
    labels: Annotated[
        str | None,
        typer.Option("--labels", callback=_readable, help="A file of `id TAB names`; an image's parent folder is its id."),
    ] = None,
    skip: Skip = 0,
    as_json: AsJson = False,
    model: Model = None,
    pretrained: Pretrained = None,
    models: Models = None,
) -> None:
    """Run a bundle against open_clip on images; exit code 1 when it falls short of the manifest's limits."""
    from convert.commands import verify as command

    command.verify(file, tuple(images), labels, skip, as_json, ModelOptions(model, pretrained, models))


@app.command()
def bench(
    file: Path,
    against: Annotated[
        str,
        typer.Option("--against", help="Peers to time beside it: float, dynamic, onnxruntime, openvino, ncnn, torch; by commas."),
    ] = "",
    runs: Annotated[int, typer.Option("--runs", help="Timed runs of each, after the warm-up.", min=50)] = 50,
    threads: Annotated[int, typer.Option("--threads", help="Threads that each may use.", min=1)] = 1,
    images: Images = None,
    check: Annotated[
        bool, typer.Option("--check", help="Exit code 1 when a bar that holds on this processor is missed.")
    ] = False,
    as_json: AsJson = False,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the chart and the figures.")] = None,
    model: Model = None,
    pretrained: Pretrained = None,
    models: Models = None,
) -> None:
    """Time a bundle beside the floor of its bare matrix products and beside other runtimes, in one process."""
    from convert.commands import bench as command

    options = command.BenchOptions(against, runs, threads, tuple(images or ()), check)
    command.bench(file, options, as_json, out, ModelOptions(model, pretrained, models))


@app.command()
def targets() -> None:
    """List the boards that a build can be for, with their limits."""
    from convert.commands import targets as command

    command.targets()


@app.command()
def check(file: Path, target: Target = "rpi", as_json: AsJson = False) -> None:
    """Hold a bundle against a board: operators, size, memory, predicted time; exit code 1 when a limit is missed."""
    from convert.commands import check as command

    command.check(file, target, as_json)


@app.command()
def sign(
    file: Annotated[Path | None, typer.Argument(help="A bundle, a label matrix or a text tower.")] = None,
    key: Annotated[Path | None, typer.Option("--key", help="The private key to sign with.")] = None,
    new_key: Annotated[Path | None, typer.Option("--new-key", help="Folder for a new pair of keys, in place of FILE.")] = None,
    kind: Annotated[
        str | None, typer.Option("--kind", help="What FILE is: bundle, labels or text-tower; default: by its name.")
    ] = None,
) -> None:
    """Sign a file for boards that take signed files only (classify --require-signature), or make the keys for it."""
    from convert.commands import sign as command

    command.sign(file, key, new_key, kind)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"convert {__version__}")
        raise typer.Exit


@app.callback()
def common(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")] = False,
) -> None:
    """Turn a CLIP image tower into one staged full-integer TensorFlow Lite file."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit code is 0, 1 (an input failed or a limit was missed), 2 (usage), 3 (refused) or 130 (interrupted)."""
    if arguments is None:
        arguments = sys.argv[1:]
        huge_pages.restart(arguments)
    debug = "--debug" in arguments
    arguments = ["--debug", *(a for a in arguments if a != "--debug")] if debug else arguments  # anywhere on the line
    edge.prepare_streams()
    try:
        result = app(arguments, standalone_mode=False)
        edge.flush_stdout()  # here, where a closed pipe is still caught
        return result if isinstance(result, int) else 0
    except (BrokenPipeError, SystemExit):  # of a closed pipe rich makes the latter
        return 0  # the reader had enough, as in `convert … | head`
    except (ConvertError, AppError, ProfileError) as error:
        return _report(str(error), getattr(error, "exit_code", UsageError.exit_code), debug)
    except typer.Exit as stop:
        return stop.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return _report("interrupted", 130, False)
    except Exception as error:
        if isinstance(error, typer.exceptions.TyperException) and hasattr(error, "show"):  # a usage error of the parser's
            for words in ("message", "option_name"):  # they repeat the command line
                if isinstance(getattr(error, words, None), str):
                    setattr(error, words, escaped(getattr(error, words)))
            error.show()
            return int(getattr(error, "exit_code", UsageError.exit_code))
        internal = f"unexpected {type(error).__name__}: {error}; run again with --debug and report it"
        code = UsageError.exit_code if isinstance(error, FileNotFoundError) else 1
        return _report(edge.refused_by_the_system(error) or internal, code, debug)
    finally:
        edge.drop_streams()


def _report(message: str, code: int, debug: bool) -> int:
    if debug:
        edge.say(escaped_lines(traceback.format_exc()).rstrip("\n"))
    edge.say(f"convert: {escaped(message)}")
    return code
