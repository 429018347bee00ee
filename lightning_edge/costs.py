"""What a time is to be read beside: operations, parameters, memory, and the machine."""

import copy
import os
import platform
import resource
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only
from torch.utils.flop_counter import FlopCounterMode


def count_flops(module: nn.Module, example_inputs: tuple[Any, ...]) -> int:
    """Operations of one forward pass: a multiply-add is two; matrix products, convolutions and attention count.

    Runs a copy on the meta device, where nothing is computed, so that buffers and speed of ``module`` stay as they
    are. A module that needs values (say, to branch on them) is copied and run on its own device instead.

    Args:
        module: counted in its present mode (training or evaluation).
        example_inputs: positional arguments of ``forward``; their shapes decide.
    """
    on_meta = tree_map_only(Tensor, lambda tensor: tensor.to("meta"), example_inputs)
    try:
        return _count(copy.deepcopy(module).to("meta"), on_meta)
    except (NotImplementedError, RuntimeError):
        return _count(copy.deepcopy(module), example_inputs)


def count_parameters(module: nn.Module) -> int:
    """Number of parameters, trainable or not; shared ones count once, uninitialised ones not at all."""
    return sum(
        parameter.numel()
        for parameter in module.parameters()
        if not isinstance(parameter, nn.parameter.UninitializedParameter)
    )


def peak_memory_bytes(device: torch.device | str) -> int:
    """Most memory used so far, which means different things on different devices.

    CUDA: tensors allocated by this process on the device since `torch.cuda.reset_peak_memory_stats`. Other devices:
    resident memory of the whole process since it began, Python and libraries included; it never falls.
    """
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def machine_facts() -> dict[str, str | int]:
    """Processor, GPU and software of this process: what to state beside any time."""
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


def _count(module: nn.Module, inputs: tuple[Any, ...]) -> int:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(*inputs)
    return counter.get_total_flops()


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
