"""Shows that the board's half installs and classifies without the workshop's half.

In clean environments under a temporary folder: Python 3.11 with constraints/rpi-bookworm.txt (numpy must be 1.x), Python 3.11
without it, and Python 3.13 where one is found (numpy must be 2.x). Each must hold nothing but the packages in ALLOWED, and
`classify BUNDLE PHOTOGRAPH` must answer there. Standard library only.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PHOTOGRAPH = ROOT / "models" / "photographs" / "cat.jpg"
# Bookworm's own numpy, which apt's picamera2 is built against, is asked for by its version.
BOOKWORM = ["-c", str(ROOT / "constraints" / "rpi-bookworm.txt"), "numpy==1.24.2"]
LITERT = {"backports-strenum", "flatbuffers", "ml-dtypes", "protobuf", "tqdm", "typing-extensions"}
ALLOWED = {"clip-rescue", "numpy", "pillow", "ai-edge-litert", "pip", "setuptools"} | LITERT


def candidates(version: str) -> Iterator[str]:
    """Pythons of one version: on PATH, then among pyenv's."""
    if on_path := shutil.which(f"python{version}"):
        yield on_path
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from map(str, sorted(pyenv.glob(f"versions/{version}.*/bin/python{version}")))


def usable(python: str) -> bool:
    return subprocess.run([python, "-c", "import ensurepip"], capture_output=True, check=False).returncode == 0


def installed(python: Path) -> dict[str, str]:
    """Package -> version, names normalised."""
    listing = subprocess.run([python, "-m", "pip", "list", "--format", "json"], capture_output=True, text=True, check=True)
    return {item["name"].lower().replace("_", "-").replace(".", "-"): item["version"] for item in json.loads(listing.stdout)}


def check(base: str, constraints: list[str], numpy_major: str, bundle: Path, folder: Path) -> None:
    """One environment is made, holds only what it may, and classifies; otherwise the program ends with the reason."""
    print(f"runtime-check: {base}, numpy {numpy_major}.x expected", flush=True)
    shutil.rmtree(ROOT / "build", ignore_errors=True)  # setuptools would install stale modules out of it
    subprocess.run([base, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", *constraints, str(ROOT)], check=True)
    packages = installed(python)
    if surplus := sorted(set(packages) - ALLOWED):
        sys.exit(f"runtime-check: the board's half brought {', '.join(surplus)}; allowed are {', '.join(sorted(ALLOWED))}")
    if packages["numpy"].split(".")[0] != numpy_major:
        sys.exit(f"runtime-check: numpy {packages['numpy']} was installed, expected {numpy_major}.x")
    command = [folder / "bin" / "classify", bundle, PHOTOGRAPH]
    answer = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if answer.returncode or not answer.stdout.strip():
        sys.exit(f"runtime-check: classify ended with {answer.returncode}\n{answer.stdout}{answer.stderr}")
    print(f"{answer.stdout.rstrip()}\nruntime-check: passed with numpy {packages['numpy']}, {len(packages)} packages", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, help="the .tflite that convert build wrote")
    parser.add_argument("--python", default="python3.11", help="the Python 3.11 to use")
    arguments = parser.parse_args()
    bundle = arguments.bundle.resolve()
    if not bundle.is_file():
        sys.exit(f"runtime-check: no file {arguments.bundle}; make it with: make demo")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        check(arguments.python, BOOKWORM, "1", bundle, folder / "bookworm")
        check(arguments.python, [], "2", bundle, folder / "plain")
        newer = next(filter(usable, candidates("3.13")), None)
        if newer is None:
            print("runtime-check: no Python 3.13 found, left out")
        else:
            check(newer, [], "2", bundle, folder / "trixie")


if __name__ == "__main__":
    main()
