"""Threads, devices and the tie to the parent process: set before any numeric library is imported."""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

from components.runtime.errors import UserError

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
_PR_SET_PDEATHSIG = 1


def set_threads(threads: int) -> None:
    """Fix the number of threads of BLAS, OpenMP and torch; sums depend on it, so it is a param.

    Must run before numpy or torch is imported; onnxruntime is told per session.
    """
    for name in _THREAD_VARIABLES:
        os.environ[name] = str(threads)
    # cuBLAS is deterministic only with a fixed workspace, chosen before the first CUDA call
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def die_with_parent(parent: int | None = None) -> None:
    """Ask the kernel to end this process when its parent ends, so that no stage outlives its flow.

    Args:
        parent: its process id, for a child that comes to this so late that the parent may be gone by then.
    """
    if sys.platform == "linux":
        parent = parent or os.getppid()
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # the parent was gone before the kernel knew
            os.kill(os.getpid(), signal.SIGTERM)


def device() -> "torch.device":  # noqa: F821 - torch is imported where it is needed
    """The device for this process: HOURGLASS_DEVICE, or a GPU when there is one, or the CPU.

    Raises:
        UserError: the device that HOURGLASS_DEVICE asks for is absent or unknown.
    """
    import torch

    wanted = os.environ.get("HOURGLASS_DEVICE", "auto")
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted not in ("cpu", "cuda"):  # which GPU is CUDA_VISIBLE_DEVICES' to say: the flow hands them out by it
        raise UserError("HOURGLASS_DEVICE", f"unknown device '{wanted}'", "use auto, cpu or cuda")
    if wanted == "cuda" and not torch.cuda.device_count():
        fix = "unset it, or check CUDA_VISIBLE_DEVICES and the driver"
        raise UserError("HOURGLASS_DEVICE", "asks for 'cuda' and 0 GPUs are visible", fix)
    return torch.device(wanted)


def fits(size: int, on: "torch.device") -> bool:  # noqa: F821
    """Whether `size` bytes of records leave a GPU at least half of its free memory; the CPU holds them anyway."""
    import torch

    return on.type == "cpu" or size < torch.cuda.mem_get_info(on)[0] / 2


def make_deterministic(threads: int) -> None:
    """Deterministic kernels and a fixed thread count for torch, on CPU and CUDA alike."""
    import torch

    torch.set_num_threads(threads)
    # the same switch as use_deterministic_algorithms(True), which imports torch's compiler: two seconds a process
    torch.set_deterministic_debug_mode("error")
    # finds reads of memory that was never written, and costs a pass over every new tensor
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = False  # float32 means float32 in convolutions too


def variant_argument(arguments: Sequence[str] | None = None) -> str:
    """The one argument of a stage that runs per variant; `arguments` are the command line's where none are given.

    Raises:
        UserError: no argument, more than one, or no variant of params.yaml.
    """
    return entry_argument("variants", "vanilla", arguments)


def entry_argument(key: str, example: str, arguments: Sequence[str] | None = None) -> str:
    """The same for a stage that runs per entry of another mapping of params.yaml: `key` is its name, in the plural.

    Raises:
        UserError: no argument, more than one, or no entry of the mapping.
    """
    from components.params import read_params, unknown

    arguments = sys.argv[1:] if arguments is None else arguments
    kind = key.removesuffix("s")
    if len(arguments) != 1:
        stage = sys.argv[0].rpartition("/")[2].removesuffix(".py")
        raise UserError(
            f"components.{stage}", f"needs the name of one {kind}", f"python -m components.{stage} {example}"
        )
    known = read_params().get(key) or {}
    if arguments[0] not in known:
        raise unknown(key, kind, arguments[0], map(str, known))
    return arguments[0]
