"""A stage in the store: what is damaged, altered or missing is not believed."""

from __future__ import annotations

import json
from hashlib import sha256

import pytest

from sparsebench.grid.store import CorruptStage, Store


@pytest.fixture
def store(tmp_path) -> Store:
    """A store with one stage of one file."""
    store = Store(tmp_path).create()
    folder = store.stage("one")
    folder.mkdir()
    (folder / "weights.safetensors").write_bytes(b"weights")
    files = {"weights.safetensors": sha256(b"weights").hexdigest()}
    (folder / "stage.json").write_text(json.dumps({"files": files}))
    return store


def test_a_whole_stage_is_read(store):
    assert set(store.stage_report("one")["files"]) == {"weights.safetensors"}


@pytest.mark.parametrize("content", [b"WEIGHTS", b"weight", b"", None], ids=["altered", "cut", "empty", "gone"])
def test_altered_files_of_a_stage_are_noticed(store, content):
    path = store.stage("one") / "weights.safetensors"
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(CorruptStage, match="one"):
        store.stage_report("one")
