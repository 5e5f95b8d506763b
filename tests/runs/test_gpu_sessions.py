"""This project's own commands use the GPU where onnxruntime can: torch comes first, and a fallback to the CPU is told."""

import subprocess
import sys
from pathlib import Path

import pytest
from place import Place

ROOT = Path(__file__).resolve().parents[2]
TOLD = "is built for CUDA, but runs the models on the CPU here"
# A process in which onnxruntime knows of CUDA, and falls back to the CPU; each session tells whether torch came before it.
CODE = """
import sys
import onnxruntime
real = onnxruntime.InferenceSession

def start(path, options=None, providers=()):
    print("session:", [name for name, _ in providers], "after torch" if "torch" in sys.modules else "without torch")
    return real(path, options, providers=["CPUExecutionProvider"])

onnxruntime.get_available_providers = lambda: PROVIDERS
onnxruntime.InferenceSession = start
"""
GATE = "from stage2_classifier.gate.fit import main; sys.exit(main(sys.argv[1:]))"
RECOGNISER = "from pathlib import Path; from recognition.recogniser import load_recogniser; load_recogniser(Path(sys.argv[1]))"


def lines(providers: list[str], code: str, *words: str) -> list[str]:
    """What a process prints that runs `code` where onnxruntime offers `providers`."""
    script = CODE.replace("PROVIDERS", repr(providers)) + code
    done = subprocess.run([sys.executable, "-c", script, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("code", [pytest.param(GATE, id="gate"), pytest.param(RECOGNISER, id="recogniser")])
@pytest.mark.parametrize(
    ("providers", "expected"),
    [
        pytest.param(["CUDAExecutionProvider", "CPUExecutionProvider"], "after torch", id="onnxruntime-gpu"),
        pytest.param(["CPUExecutionProvider"], "without torch", id="onnxruntime"),
    ],
)
def test_torch_comes_before_the_first_session_where_there_is_cuda(
    providers: list[str], expected: str, code: str, place: Place
) -> None:
    printed = lines(providers, code, *(place.words("gate") if code == GATE else [str(place.runs)]))
    sessions = [line for line in printed if line.startswith("session:")]
    assert sessions and sessions[0] == f"session: {providers} {expected}"
    assert sum(TOLD in line for line in printed) == (len(providers) > 1), "once, of several sessions"
