"""Context for measured times: number of parameters, memory, and the machine."""

import os
import platform
import resource
import sys
from pathlib import Path

import torch
from torch import nn


def count_parameters(module: nn.Module) -> int:
    """Number of parameters, trainable or not; shared ones count once, and uninitialized ones do not count."""
    return sum(
        parameter.numel()
        for parameter in module.parameters()
        if not isinstance(parameter, nn.parameter.UninitializedParameter)
    )


def peak_memory_bytes(device: torch.device | str) -> int:
    """Peak memory so far, in bytes; it is measured differently on different devices.

    On CUDA it is the memory of the tensors that this process allocated on the device since
    `torch.cuda.reset_peak_memory_stats`. On other devices it is the resident memory of the whole process since its
    start, including Python and libraries; this value never decreases.
    """
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def machine_facts() -> dict[str, str | int]:
    """Processor, GPU and software versions, which should be reported with every measured time."""
    facts: dict[str, str | int] = {
        "cpu": _cpu_name(),
        "num_cpu_cores": os.cpu_count() or 0,
        "num_torch_threads": torch.get_num_threads(),
        "os": platform.platform(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
    }
    if torch.cuda.is_available():
        facts |= {
            "gpu": torch.cuda.get_device_name(),
            "num_gpus": torch.cuda.device_count(),
            "cuda": str(torch.version.cuda),
        }
    return facts


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
