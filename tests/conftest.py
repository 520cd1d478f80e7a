"""One thread a test process: sums in another order round otherwise, and two cores are shared."""

from __future__ import annotations

import torch

torch.set_num_threads(1)
