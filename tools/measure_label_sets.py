"""What early exits do under label sets that they were not fitted for: kept as they are, and fitted anew on what the bundle remembers.

    python tools/measure_label_sets.py pocket-rpi.tflite val.tar --skip 3030

For each list of labels: how many answers leaving early changes, against full depth under the same labels, and the MACs left. Lists: 10, 100
and all of the model's own labels, each doubled by a near-synonym ("small dog" beside "dog"), ImageNet's 1,000 names, and 200 of them that
none of the images shows. Prints a Markdown table.
"""

import argparse
import dataclasses
from pathlib import Path

import numpy as np

from calibration.samples import load, samples
from convert.model.labels import embed_labels
from convert.model.load import load_model
from convert.model.torchvision_ops import open_clip
from tflite_runtime_app.bundle.file import read_bundle
from tflite_runtime_app.bundle.manifest import Manifest
from tflite_runtime_app.exits.refit import refit
from tflite_runtime_app.exits.replay import answers, observe, replay, replayed
from tflite_runtime_app.exits.risk import DELTA
from tflite_runtime_app.inference.cascade import load_cascade
from tflite_runtime_app.policies import Never, policy_from_manifest
from tflite_runtime_app.text.label_list import LabelList, read_label_file

CLONE = Path(__file__).resolve().parent.parent


def label_sets() -> dict[str, tuple[str, ...]]:
    """Name -> labels."""
    own = read_label_file(CLONE / "models" / "pocket" / "labels.txt").names
    random = np.random.default_rng(0)
    some = [own[i] for i in np.sort(random.permutation(len(own))[:100])]
    imagenet = tuple(dict.fromkeys(open_clip.IMAGENET_CLASSNAMES))
    words = {word.lower() for name in own for word in name.split()}
    absent = [name for name in imagenet if not words & set(name.lower().split())]
    return {
        "10 of its own": tuple(some[::10]),
        "100 of its own": tuple(some),
        f"all {len(own)} of its own": own,
        "100 and a near-synonym of each": (*some, *(f"small {name}" for name in some)),
        f"ImageNet's {len(imagenet)}": imagenet,
        "200 that no image shows": tuple(absent[:200]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--skip", type=int, default=0)
    arguments = parser.parse_args()
    bundle, model = read_bundle(arguments.file), load_model("pocket", None, CLONE / "models")
    images = load(samples([arguments.images]), bundle.manifest.preprocessing).part(arguments.skip, None)
    cascade = load_cascade(bundle, 2, policy=Never())
    found = replay(cascade, images.images)
    memory = replayed(bundle.remembered, bundle.manifest)

    def measured(manifest: Manifest, bank) -> tuple[float, float]:
        """Share of answers changed, MACs as a share of full depth without exits."""
        ours = answers(found, bank, manifest.logit_scale)
        seen = observe(ours, cascade, manifest, len(bank.names))
        left = seen.leaves(policy_from_manifest(manifest))
        return float(seen.changed(left).mean()), seen.share(left)

    alpha = bundle.manifest.calibration.risk["alpha"]
    print(f"| labels | as fitted: changed | MACs | fitted anew: changed (bound {alpha:.0%}) | MACs |\n|---|---|---|---|---|")
    for name, labels in label_sets().items():
        bank = embed_labels(LabelList(labels, labels), model)
        kept = measured(bundle.manifest, bank)
        anew, _ = refit(cascade, bundle.manifest, memory, bank, alpha, DELTA)
        fresh = measured(dataclasses.replace(anew), bank)
        cells = [f"{value * 100:.1f} %" for value in (*kept, *fresh)]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
