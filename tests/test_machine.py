import json
import os
from pathlib import Path

import pytest
import torch
from torch import nn

from lightning_edge.machine import count_parameters, machine_facts, peak_memory_bytes


def test_count_parameters_counts_shared_ones_once() -> None:
    linear = nn.Linear(3, 3, bias=False)
    assert count_parameters(nn.Sequential(linear, nn.Linear(3, 2), linear)) == 9 + 8
    assert count_parameters(nn.LazyLinear(3)) == 0


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's account of the process")
def test_peak_memory_of_the_process_lies_between_its_high_water_mark_and_the_memory_there_is() -> None:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    installed_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 0.98 * 1024 * int(line.split()[1]) <= peak_memory_bytes("cpu") < installed_bytes


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_peak_memory_on_cuda_counts_tensors() -> None:
    torch.cuda.reset_peak_memory_stats()
    before = peak_memory_bytes("cuda")
    torch.ones(2**20, device="cuda")
    assert peak_memory_bytes("cuda") - before >= 4 * 2**20


def test_machine_facts_name_the_machine_and_can_be_written_as_json() -> None:
    facts = json.loads(json.dumps(machine_facts()))
    assert facts["torch"] == torch.__version__
    assert facts["num_torch_threads"] == torch.get_num_threads()
    assert facts["cpu"]
    assert facts["num_cpu_cores"] >= 1
