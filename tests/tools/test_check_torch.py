"""The set-up's torch check, fed with reports of the form that pip writes."""

import importlib.util

import pytest

from tests.clone import ROOT

PATH = ROOT / "tools" / "check_torch.py"
SPEC = importlib.util.spec_from_file_location("check_torch", PATH)
assert SPEC is not None and SPEC.loader is not None
check_torch = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(check_torch)

CPU = ["filelock", "sympy>=1.13.3", 'opt-einsum>=3.3; extra == "opt-einsum"']
MARKER = '; platform_system == "Linux"'


def report(*requires: str, name: str = "torch") -> dict[str, object]:
    return {"version": "1", "install": [{"metadata": {"name": name, "version": "2.13.0", "requires_dist": list(requires)}}]}


@pytest.mark.parametrize(
    ("requires", "expected"),
    [
        ([f"nvidia-cudnn-cu13==9.1{MARKER}"], ["nvidia-cudnn-cu13"]),
        (
            [f"cuda-toolkit[cublas,cudart]==13.0.2{MARKER}", f"nvidia-nccl-cu13==2.28{MARKER}"],
            ["cuda-toolkit", "nvidia-nccl-cu13"],
        ),
    ],
)
def test_names_what_the_cuda_build_requires(requires: list[str], expected: list[str]) -> None:
    assert check_torch.cuda_requirements(report(*CPU, *requires)) == expected


def test_passes_the_cpu_build() -> None:
    assert check_torch.cuda_requirements(report(*CPU)) == []


def test_passes_when_torch_is_installed_already() -> None:
    assert check_torch.cuda_requirements({"version": "1", "install": []}) == []


def test_passes_a_cuda_requirement_of_an_extra_only() -> None:
    assert check_torch.cuda_requirements(report('cuda-bindings; extra == "cuda"')) == []


def test_ignores_other_packages() -> None:
    assert check_torch.cuda_requirements(report("nvidia-ml-py", name="other")) == []


def test_stops_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALLOW_CUDA", raising=False)
    monkeypatch.setattr(check_torch.platform, "system", lambda: "Linux")
    monkeypatch.setattr(check_torch.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(check_torch, "pip_report", lambda: report(f"nvidia-cudnn-cu13==9.1{MARKER}"))
    with pytest.raises(SystemExit, match=r"nvidia-cudnn-cu13.*PIP_EXTRA_INDEX_URL.*ALLOW_CUDA=1"):
        check_torch.main()


def test_allow_cuda_skips_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLOW_CUDA", "1")
    monkeypatch.setattr(check_torch, "pip_report", lambda: pytest.fail("pip was asked"))
    check_torch.main()
