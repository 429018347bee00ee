"""The first losses, pinned: a change that moves them changes what the method computes.

In float64 on one thread. The order of sums differs between processors, by less than 1e-9 of a loss.
"""

import torch
from toys import fit_in_float64

ACCEL = [3.2509638297818255, 3.2482210210181686, 3.2317753959336244, 3.233438671246181]
"""Two steps on single frames, two on fused scores."""


def test_accel(tmp_path):
    _, losses = fit_in_float64(tmp_path, batch_size=8)
    got, expected = torch.tensor(losses, dtype=torch.float64), torch.tensor(ACCEL, dtype=torch.float64)
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=0)
