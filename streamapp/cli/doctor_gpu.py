"""The GPU check of `streamapp doctor`: what the driver has, and whether torch and onnxruntime can use it."""

import shutil
import subprocess
import warnings
from dataclasses import dataclass

from streamapp.cli.doctor_checks import Check, State
from streamapp.errors import StreamappError

NVIDIA_SMI_TIMEOUT_S = 10.0
# y = x + x, as an ONNX file: onnxruntime tells whether CUDA works by opening a network, and only so.
ADDITION = bytes.fromhex(
    "08081200 3a35 0a0e0a01780a017812017922034164641201675a0f0a0178120a0a0808011204"
    "0a020801620f0a0179120a0a08080112040a020801 42040a00100d"
)


@dataclass(frozen=True, slots=True)
class Seen:
    """What one of the three says of the GPUs.

    Attributes:
        gpus: each with its name and memory.
        problem: why there are none, a sentence; empty where that is how it should be.
    """

    gpus: tuple[str, ...] = ()
    problem: str = ""


def check_gpu() -> Check:
    """Look at the GPUs as the worker's libraries see them; none is fine, one that nobody can use is not."""
    driver, torch_sees = gpus_of_driver(), gpus_of_torch()
    if not (driver.gpus or driver.problem or torch_sees.gpus):
        return Check("gpu", State.OK, "No CUDA device: models run on the CPU.")
    return judge_gpus(driver, torch_sees, onnxruntime_problem())


def judge_gpus(driver: Seen, torch_sees: Seen, onnxruntime_problem: str) -> Check:
    """Put together what is said of GPUs on a machine that has one, or half of one.

    Args:
        onnxruntime_problem: why onnxruntime can't use CUDA; empty where it can.
    """
    if driver.problem and not torch_sees.gpus:
        return Check("gpu", State.WARN, driver.problem, "Mend the driver, or run on the CPU.")
    if not torch_sees.gpus:
        detail = f"nvidia-smi lists {'; '.join(driver.gpus)}, but torch sees none. {torch_sees.problem}"
        remedy = "Install torch for CUDA, and look at CUDA_VISIBLE_DEVICES; CLIP and CoOp run on the CPU now."
        return Check("gpu", State.WARN, detail.rstrip(), remedy)
    seen = f"torch sees {'; '.join(torch_sees.gpus)}"
    if onnxruntime_problem:
        remedy = "Install onnxruntime-gpu in place of onnxruntime; NudeNet and MFD run on the CPU now."
        return Check("gpu", State.WARN, f"{seen}; onnxruntime does not: {onnxruntime_problem}", remedy)
    return Check("gpu", State.OK, f"{seen}; onnxruntime runs on CUDA.")


def gpus_of_driver() -> Seen:
    """What nvidia-smi lists; nothing where there is no such program."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return Seen()
    query = [program, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        answer = subprocess.run(
            query, capture_output=True, text=True, timeout=NVIDIA_SMI_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError) as exc:
        return Seen(problem=f"nvidia-smi fails: {exc}.")
    return Seen(tuple(answer.stdout.strip().splitlines()))


def gpus_of_torch() -> Seen:
    """The CUDA devices that torch can use, those that CUDA_VISIBLE_DEVICES leaves it."""
    # Here and below: a package that can't be imported is one failed check and no more.
    import torch

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not count:
        reason = f" {str(told[0].message).splitlines()[0]}" if told else ""
        return Seen(problem=f"It is torch {torch.__version__}.{reason}")
    found = [torch.cuda.get_device_properties(index) for index in range(count)]
    return Seen(tuple(f"{gpu.name}, {gpu.total_memory / 2**30:.1f} GiB" for gpu in found))


def onnxruntime_problem() -> str:
    """Why onnxruntime can't run a network on CUDA; empty where it can."""
    from streamapp.models.onnx_session import open_session

    try:
        open_session(ADDITION, what="A network of one addition", threads=1, device="cuda")
    except StreamappError as exc:
        return str(exc)
    return ""
