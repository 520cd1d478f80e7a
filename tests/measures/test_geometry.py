"""What the measure keeps of single images, against the stored networks and the images themselves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from sparsebench.cli import main
from sparsebench.corruptions.suite import corrupted_bytes, kinds
from sparsebench.grid.board import Board
from sparsebench.grid.hardware import Hardware
from sparsebench.grid.load import load_cell
from sparsebench.grid.store import Store
from sparsebench.measures.geometry_kept import pixels
from sparsebench.report.explore.arrays import read
from tests.grid.conftest import run_inline, tiny_board

SUBSET = {"test": 120}


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def board() -> Board:
    """A perceptron whose test images are a part of the data set's; masks, and units taken out."""
    tiny = tiny_board("magnitude@finetune", "l1@finetune")
    return replace(tiny, tasks=(replace(tiny.tasks[0], subset=SUBSET),), measures=("geometry",))


@pytest.fixture(scope="module")
def records(store, board) -> dict:
    result = run_inline(board, store.folder)
    assert not result.failed, result.failed
    return {r.cell["method"]: r for r in result.records.values()}


def kept(store, record) -> dict[str, np.ndarray]:
    return read(store.folder / "measures", record.data["cell_id"])


@pytest.mark.parametrize("method", ["dense", "magnitude@finetune", "l1@finetune"])
def test_decisions_clean_and_corrupted_are_those_of_the_stored_network(store, records, method):
    record = records[method]
    arrays, stored = kept(store, record), load_cell(dict(record.data), store, Hardware("cpu"))
    net, data = stored.loaded.net.eval(), stored.data
    x, y = (torch.cat(column) for column in zip(*data.test_dataloader(), strict=True))
    with torch.no_grad():
        said = net(x).argmax(1)
    assert arrays["label"].tolist() == y.tolist()
    assert arrays["said"].tolist() == said.tolist()
    assert len(y) == 120
    assert np.mean(arrays["said"] == arrays["label"]) == pytest.approx(record.data["metrics"]["top1"])
    # The showings, made here once more: image, kind and severity are put together rightly.
    positions = data.test_dataloader().positions
    images, labels = data._source.test.images, data._source.test.labels
    for at in (0, 7, 133, 599):
        position = positions[arrays["shown_row"][at]]
        image = corrupted_bytes(
            images[position][None],
            kinds()[arrays["shown_kind"][at]],
            int(arrays["shown_severity"][at]),
            dataset="digits",
            index=position[None],
        )
        with torch.no_grad():
            assert net(data._normalise(image)).argmax(1).item() == arrays["shown_said"][at]
        assert labels[position] == arrays["label"][arrays["shown_row"][at]]
    right = arrays["shown_said"] == arrays["label"][arrays["shown_row"]]
    assert np.mean(right) == pytest.approx(record.data["metrics"]["corrupted"])
    assert arrays["kind_shown"].sum() == len(right) == 600
    assert arrays["kind_right"].sum() == right.sum()


def test_pictures_are_the_images(store, records):
    arrays = kept(store, records["dense"])
    stored = load_cell(dict(records["dense"].data), store, Hardware("cpu"))
    loader, images = stored.data.test_dataloader(), stored.data._source.test.images
    assert (arrays["pictures"] == images[loader.positions].numpy()).all()
    assert arrays["shown_at"].tolist() == list(range(600))
    at = 42
    position = loader.positions[arrays["shown_row"][at]]
    kind, severity = kinds()[arrays["shown_kind"][at]], int(arrays["shown_severity"][at])
    made = corrupted_bytes(images[position][None], kind, severity, dataset="digits", index=position[None])
    assert (arrays["shown_pictures"][at] == made[0].numpy()).all()
    assert "pictures" not in kept(store, records["magnitude@finetune"])
    some = pixels(loader, loader, np.array([3, 100]))
    assert (some.numpy() == arrays["pictures"][[3, 100]]).all()


def test_a_narrower_network_has_its_own_plane_alone(store, records):
    assert {"plane", "own"} <= kept(store, records["magnitude@finetune"]).keys()
    assert "plane" not in kept(store, records["l1@finetune"])
    dense = kept(store, records["dense"])
    assert np.allclose(dense["plane"], dense["own"], atol=0.02)  # its own plane is the plane
    own = kept(store, records["l1@finetune"])["own"].astype(float)
    turned = own @ np.linalg.svd(own.T @ dense["own"].astype(float))[0]
    assert np.linalg.norm(turned - 0) == pytest.approx(np.linalg.norm(own))
    assert ((own - dense["own"]) ** 2).sum() < ((-own - dense["own"]) ** 2).sum()


def test_a_cell_measured_again_gives_the_same(store, records):
    """A rerun of the finish: the same numbers and the same file."""
    record = records["magnitude@finetune"]
    path = store.folder / "measures" / record.data["cell_id"] / "geometry.safetensors"
    before = path.read_bytes()
    (store.records / f"{record.data['cell_id']}.json").unlink()
    board = tiny_board("magnitude@finetune")
    board = replace(board, tasks=(replace(board.tasks[0], subset=SUBSET),), measures=("geometry",))
    again = next(r for r in run_inline(board, store.folder).records.values() if r.cell["method"] != "dense")
    assert again.data["measures"] == record.data["measures"]
    assert path.read_bytes() == before


BOARD = """
name: tiny
version: 1
title: Tiny
tasks: [{base: digits-mlp, name: tiny-mlp, network_arguments: {hidden: [16, 12]}, recipe: {epochs: 3, mask_every: 4}, subset: {test: 120}}]
methods: [dense, magnitude@finetune, l1@finetune]
sparsities: [0.75]
seeds: [0]
defaults: {imp: {rate: 0.5}, lrr: {rate: 0.5}}
"""  # noqa: E501


def test_the_command_writes_the_page_or_says_what_is_missing(store, records, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "with.yaml").write_text(BOARD + "measures: [geometry]\n")
    (tmp_path / "without.yaml").write_text(BOARD)
    assert main(["explore", "with.yaml", "--store", str(store.folder)]) == 0
    assert capsys.readouterr().out.strip() == "results/tiny/explore.html"
    assert (tmp_path / "results/tiny/explore.html").stat().st_size > 100_000
    for words, message in (
        (["without.yaml", "--store", str(store.folder)], "nothing of tiny is in the store"),
        (["with.yaml", "--store", str(store.folder), "--seeds", "7"], "--seeds 7: board tiny has 0"),
        (["with.yaml", "--store", str(store.folder), "--to", str(tmp_path)], "is a folder"),
        (["with.yaml", "--store", str(store.folder), "--map", "tsne"], "tsne"),
        (["quik"], "unknown board 'quik'"),
        (["robustness_lottery", "--scale", "large"], "unknown scale 'large'"),
    ):
        assert main(["explore", *words]) == 2
        assert message in capsys.readouterr().err
