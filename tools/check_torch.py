"""Stops the set-up before pip brings the CUDA build of torch, which nothing here uses (about 3 GB more).

Asks pip, without installing, which torch it would choose under constraints.txt, and reads that wheel's requirements:
the CUDA build requires nvidia-* or cuda-* packages, the CPU build does not. Standard library only.
"""

import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

CONSTRAINTS = Path(__file__).resolve().parent.parent / "constraints.txt"
CUDA = re.compile(r"(?:nvidia|cuda)[-_.]", re.IGNORECASE)


def cuda_requirements(report: dict[str, Any]) -> list[str]:
    """The names of nvidia-* and cuda-* packages that the torch in pip's installation report requires unconditionally."""
    found = set()
    for item in report.get("install", []):
        metadata = item["metadata"]
        if metadata["name"].lower() != "torch":
            continue
        for requirement in metadata.get("requires_dist", []):
            if CUDA.match(requirement) and not re.search(r";.*\bextra\s*==", requirement):
                found.add(re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0])
    return sorted(found)


def message(found: list[str]) -> str:
    """What was found and how to avoid it."""
    shown = ", ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")
    return (
        f"setup: pip would install the CUDA build of torch (it requires {shown}). Point PIP_EXTRA_INDEX_URL or PIP_FIND_LINKS "
        "at PyTorch's CPU wheels (PyTorch's Start Locally page names the place for Compute Platform CPU), "
        "or accept about 3 GB more with: ALLOW_CUDA=1 make setup"
    )


def pip_report() -> dict[str, Any]:
    """pip's own account of the torch that it would install."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-deps", "--quiet", "--report", "-"]
    result = subprocess.run([*command, "-c", str(CONSTRAINTS), "torch"], capture_output=True, text=True, check=False)
    if result.returncode:
        sys.exit(f"setup: pip finds no torch that constraints.txt allows\n{result.stderr.strip()}")
    report: dict[str, Any] = json.loads(result.stdout)
    return report


def main() -> None:
    if os.environ.get("ALLOW_CUDA") == "1" or (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        return
    found = cuda_requirements(pip_report())
    if found:
        sys.exit(message(found))


if __name__ == "__main__":
    main()
