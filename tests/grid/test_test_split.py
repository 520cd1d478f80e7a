"""The test split, counted from outside: rule 8 of the audit by another way than the data module's own count."""

from __future__ import annotations

from sparsebench.data.module import DataModule
from sparsebench.grid.store import Store
from tests.grid.conftest import run_inline, tiny_board


def test_it_is_read_once_a_cell_and_never_before_the_end(tmp_path, monkeypatch):
    finished_at_reading, hand_out = [], DataModule.test_dataloader

    def counted(self):
        finished_at_reading.append(len(Store(tmp_path).done_cells()))
        return hand_out(self)

    monkeypatch.setattr(DataModule, "test_dataloader", counted)
    board = tiny_board("magnitude@finetune", "rigl")
    assert not run_inline(board, tmp_path).failed
    assert finished_at_reading == list(range(len(board.cells)))
