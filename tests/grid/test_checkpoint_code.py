"""Checkpoints hold numbers: one that holds code is not loaded."""

from __future__ import annotations

from pathlib import Path

import torch

from sparsebench.grid.training import readable

STEPS = {"epoch_loop.manual_optimization.optim_step_progress": {"total": {"completed": 9}}}
STATE = {"state_dict": {"w": torch.ones(2)}, "loops": {"fit_loop": STEPS}}


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def test_a_checkpoint_that_holds_code_is_set_aside_and_not_run(tmp_path, capsys):
    checkpoint, mark = tmp_path / "checkpoint.ckpt", tmp_path / "it-ran"
    torch.save(STATE, checkpoint)
    assert readable(checkpoint, several=True)
    torch.save({**STATE, "epoch": Trap(mark)}, checkpoint)
    assert not readable(checkpoint, several=True)
    assert not mark.exists()
    assert "damaged" in capsys.readouterr().out
    torch.load(checkpoint.with_suffix(".damaged"), weights_only=False)
    assert mark.exists(), "the trap does not work, so this test shows nothing"
