"""The last phase before measuring: the integer file with its gates, audited, and the manifest that a bundle of it will hold."""

from __future__ import annotations

from dataclasses import dataclass

from calibration.phases import Calibrated
from convert.emit.gates import add_gates
from convert.emit.graph import Graph
from convert.emit.integer import IntegerFile
from convert.emit.manifest import cascade_of, describe
from convert.request import Request
from convert.support.progress import Progress
from convert.tflite.audit import SignatureAudit, audit
from tflite_runtime_app.bundle.labels import LabelBank
from tflite_runtime_app.bundle.manifest import Manifest
from tflite_runtime_app.exits.label_match import labels_match
from tflite_runtime_app.exits.refit import for_other_labels


@dataclass(frozen=True, slots=True, eq=False)
class Finished:
    """A file that has passed the audit."""

    flatbuffer: bytes
    integer: IntegerFile  # the same without gates, its tensors named
    audited: dict[str, SignatureAudit]  # by signature
    bank: LabelBank
    manifest: Manifest  # as the bundle will hold it
    usable: Manifest  # as it may be used with these labels
    labels_match: bool  # whether the exits were calibrated for these labels


def finish(
    request: Request, graph: Graph, integer: IntegerFile, calibrated: Calibrated, bank: LabelBank, progress: Progress
) -> Finished:
    """The file with its gates, audited, and its manifest; exits are fitted anew where the calibration is for other labels.

    Raises AuditError naming the first broken rule.
    """
    flatbuffer = add_gates(integer.content, calibrated.exits.gates)
    audited = audit(flatbuffer, integer.by_name, integer.grids, request.profile.forbidden)
    progress.step("full-integer file written and audited")
    manifest = describe(flatbuffer, graph.stages, request.model, calibrated, request.profile.name)
    remembered = calibrated.exits.remembered
    usable, notice = for_other_labels(cascade_of(flatbuffer, manifest), manifest, remembered, bank)
    if notice:
        progress.step(notice)
    # Where nothing is remembered, the bundle keeps the exits of other labels, and the board says so.
    kept = manifest if remembered is None else usable
    return Finished(flatbuffer, integer, audited, bank, kept, usable, labels_match(manifest, bank))
