"""A bundle, labels and a view, ready to answer frames; the labels may change while it runs."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from tflite_runtime_app import board
from tflite_runtime_app.admission.threads import valid_threads
from tflite_runtime_app.bundle.file import Bundle
from tflite_runtime_app.bundle.labels import LabelBank, check_space
from tflite_runtime_app.errors import InferenceError, SourceError
from tflite_runtime_app.exits.label_match import for_labels, labels_match
from tflite_runtime_app.inference.answer import answer
from tflite_runtime_app.inference.background import beside
from tflite_runtime_app.inference.cascade import Cascade, load_cascade
from tflite_runtime_app.inference.preprocess import image_to_tensor
from tflite_runtime_app.inference.smaller import least_side
from tflite_runtime_app.inference.view import View
from tflite_runtime_app.policies import Never, policy_from_manifest
from tflite_runtime_app.sinks.base import Result
from tflite_runtime_app.sources.base import Frame


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A frame on its way: `image` is what is looked at, `tensor` the int8 codes that the model takes, `ms` what those took."""

    frame: Frame
    image: Image.Image
    tensor: npt.NDArray[np.int8]
    ms: float


class Classifier:
    """Answers frames with a bundle; one interpreter for the life of it, for one thread at a time.

    `threads` are LiteRT's, `top` is how many labels an answer has, `full_depth` takes no early exit, `view` says which part of a frame is
    looked at. Without `whole` images a large JPEG is decoded only as finely as the model sees it, and so comes back in the result.
    `notice` is a sentence for the user on the threads in use, empty where there is nothing to say. Raises BundleIncompatible
    when the model does not run here.
    """

    def __init__(
        self,
        bundle: Bundle,
        threads: int = 1,
        top: int = 5,
        full_depth: bool = False,
        view: View | None = None,
        *,
        whole: bool = True,
    ) -> None:
        self.bundle, self.top, self.view = bundle, top, view or View()
        # Parts and frames of an image are counted in its whole pixels: only the middle square is the same of a smaller one.
        self._least = 0 if whole or self.view.crop != "centre" else least_side(bundle.manifest.preprocessing)
        self._full_depth = full_depth
        threads, fewer = board.usable_threads(threads)
        threads, notice = valid_threads(bundle, threads)
        self.notice = notice or fewer
        self._cascade = load_cascade(bundle, threads, policy=Never())
        self._bank: LabelBank | None = None
        self._background: LabelBank | None = None

    @property
    def cascade(self) -> Cascade:
        """The cascade for the labels in use."""
        return self._cascade

    @property
    def background(self) -> LabelBank | None:
        """The names of other things beside the labels in use; None where the bundle has none, or the labels say it all."""
        return self._background

    @property
    def bank(self) -> LabelBank:
        """The labels in use. Raises RuntimeError before the first `use`."""
        if self._bank is None:
            raise RuntimeError("no labels were set; call use(LabelSource(bundle).read()) first")
        return self._bank

    def use(self, bank: LabelBank) -> str:
        """These are the labels from here on; returns a notice on what became of the exits, empty where there is nothing to say.

        For other labels than the bundle's own, exits are fitted anew on what the bundle remembers, or taken off. Raises LabelError for
        labels of another model; the old ones then stay.
        """
        check_space(bank, self.bundle.manifest)
        plain, notice = Cascade(self._cascade.engine, self.bundle.manifest, Never()), ""
        if self._full_depth or labels_match(self.bundle.manifest, bank):
            manifest = for_labels(self.bundle.manifest, bank)
        else:
            from tflite_runtime_app.exits.refit import for_other_labels  # late: a bundle's own labels do without

            manifest, notice = for_other_labels(plain, self.bundle.manifest, self.bundle.remembered, bank)
        policy = Never() if self._full_depth else policy_from_manifest(manifest)
        self._bank, self._background = bank, beside(bank, self.bundle.background)
        self._cascade = Cascade(plain.engine, manifest, policy)
        return notice

    def classify(self, frame: Frame) -> Result:
        """The answer to one frame.

        Raises SourceError when its image cannot be read, InferenceError, which is one, when the model fails on it; the next frame may do
        well. Raises RuntimeError before the first `use`.
        """
        return self.answered(self.prepared(frame))

    def prepared(self, frame: Frame) -> Prepared:
        """The first half of `classify`, which any thread may do while another is at the second. Raises SourceError."""
        try:
            image = self.view.apply(frame.smaller(self._least) if self._least and frame.smaller else frame.load())
            start = time.perf_counter()
            tensor = image_to_tensor(image, self.bundle.manifest.preprocessing)
        except MemoryError as error:
            raise _no_memory(frame) from error
        return Prepared(frame, image, tensor, (time.perf_counter() - start) * 1e3)

    def answered(self, prepared: Prepared) -> Result:
        """The second half of `classify`. Raises InferenceError, or SourceError where memory runs out."""
        bank, frame, start = self.bank, prepared.frame, time.perf_counter()
        try:
            embedding = self._cascade.run(prepared.tensor, bank)
        except InferenceError as error:
            raise InferenceError(f"{frame.source}: {error}") from error
        except MemoryError as error:
            raise _no_memory(frame) from error
        return Result(
            source=frame.source,
            frame=frame.index,
            answer=answer(embedding, bank, self._cascade.manifest, self.top, self._background),
            exit=embedding.stage,
            block=embedding.blocks_done,
            blocks=self._cascade.manifest.stages[-1].blocks_done,
            macs=embedding.macs,
            ms=prepared.ms + (time.perf_counter() - start) * 1e3,
            stages_ms=embedding.stages_ms,
            image=prepared.image,
            taken=frame.taken,
        )


def _no_memory(frame: Frame) -> SourceError:
    return SourceError(f"{frame.source}: there is not enough memory for this image; give a smaller one")
