"""The page of linked views: what it takes from records and arrays, and what it says where they are missing."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from sparsebench.corruptions.suite import kinds
from sparsebench.errors import UsageError
from sparsebench.record import Record
from sparsebench.report import explore
from sparsebench.report.explore import models, payload, sprite
from tests.report.conftest import make_record

N, K, V = 40, 4, 200
ARMS = [("dense", 0.0), ("magnitude@finetune", 0.9), ("snip@init", 0.5), ("l1@finetune", 0.9)]


def board_info() -> dict:
    return {"name": "toy", "version": 1, "title": "A <b>toy</b> board", "notes": "", "command": "sparsebench run toy"}


def arrays(seed: int, dense: bool, narrow: bool = False) -> dict[str, np.ndarray]:
    """What the measure keeps of one network; forty images, each shown five times."""
    g = np.random.default_rng(seed)
    label = np.arange(N) % K
    angles = g.uniform(70, 110, (N, K))
    angles[np.arange(N), label] = g.uniform(20, 60, N)
    margin = g.normal(1.0, 1.0, N)
    margin[:8] = g.permutation([0.3, -0.5, 0.8, -1.0, 2.0, 3.0, -0.2, 1.0])
    row = np.repeat(np.arange(N), 5)
    kind = (row[:, None] * 0 + (row + 3 * np.tile(np.arange(5), N))[:, None] % 15)[:, 0]
    said = np.where(g.random(V) < 0.6, label[row], (label[row] + 1) % K)
    plane = {} if narrow else {"plane": g.normal(size=(N, 2)) * 5, "directions": g.normal(size=(K, 2))}
    shares = {"own_share": np.array([0.4, 0.2])} | ({} if narrow else {"plane_share": np.array([0.4, 0.2])})
    shown_by = np.array([[np.sum((label[row] == k) & (kind == c)) for c in range(15)] for k in range(K)])
    pictures = {
        "pictures": g.integers(0, 256, (N, 1, 8, 8), dtype=np.uint8),
        "shown_pictures": g.integers(0, 256, (V, 1, 8, 8), dtype=np.uint8),
        "shown_at": np.arange(V, dtype=np.int32),
    }
    numbers = {
        "angles": angles, "length": g.uniform(2, 5, N), "margin": margin, "shown_angle": g.uniform(20, 90, V),
        "shown_length": g.uniform(2, 5, V), "shown_margin": g.normal(size=V), "own": g.normal(size=(N, 2)) * 5,
        "own_directions": g.normal(size=(K, 2)), **shares, **plane,
    }  # fmt: skip
    return {
        "label": label.astype(np.int16),
        "said": np.where(margin < 0, (label + 1) % K, label).astype(np.int16),
        "rows": np.arange(N, dtype=np.int32),
        "shown_row": row.astype(np.int32),
        "shown_kind": kind.astype(np.int8),
        "shown_severity": (np.tile(np.arange(5), N) + 1).astype(np.int8),
        "shown_said": said.astype(np.int16),
        "kind_shown": shown_by.astype(np.int32),
        "kind_right": (shown_by // 2).astype(np.int32),
        **{name: value.astype(np.float16) for name, value in numbers.items()},
        **(pictures if dense else {}),
    }


def made(folder: Path, seeds: tuple[int, ...] = (0, 1)) -> list[Record]:
    """Records of four networks a seed, and their arrays."""
    found = []
    alike = [[None if i == j else round(1 / (1 + abs(i - j)), 3) for j in range(15)] for i in range(15)]
    column = {"n": [10] * K} | {
        key: [0.5, 0.6, 0.7, 0.8] for key in ("recall", "mca", "flips", "angle", "length", "margin")
    }
    shown = {"set": "sample5", "n": V, "kinds": {k: [0.5, None, 0.7, 0.6, 0.4] for k in kinds()}}
    shown["counts"] = {k: [4, 0, 3, 3, 3] for k in kinds()}
    for seed in seeds:
        for place, (method, sparsity) in enumerate(ARMS):
            record = make_record("digits-mlp", method, sparsity, seed, 0.9 - 0.01 * place)
            geometry = {
                "margin_median": 1.0,
                "classes": column,
                "redundancy": {"kinds": kinds(), "margin": alike, "loss": alike},
                "layers": {"fc1": {"length": 2.0, "relative": 0.5, "angle": 30.0}},
            }
            data = {**record.data, "measures": {"geometry": geometry}, "corruptions": shown}
            data["metrics"] = {**data["metrics"], "corrupted": 0.6}
            found.append(Record(data))
            kept = folder / data["cell_id"]
            kept.mkdir(parents=True)
            save_file(
                arrays(10 * seed + place, method == "dense", method == "l1@finetune"), kept / "geometry.safetensors"
            )
    return found


@pytest.fixture
def records(tmp_path) -> list[Record]:
    return made(tmp_path / "measures")


def found(records, tmp_path, seeds=None, how="pca") -> dict:
    return payload.payload(board_info(), records, tmp_path / "measures", seeds, how)


def test_the_page_is_one_file_that_names_no_other_and_holds_the_data(records, tmp_path):
    text = explore.page(board_info(), records, tmp_path / "measures")
    assert text == explore.page(board_info(), records, tmp_path / "measures")
    assert "default-src 'none'" in text
    assert not re.search(r"https?://(?!www\.w3\.org)", text)
    assert "<h1>A &lt;b&gt;toy&lt;/b&gt; board</h1>" in text
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)[1])
    assert [len(one["models"]) for one in data["sets"]] == [4]  # the first seed alone
    assert len(data["table"]) == 4
    assert data["table"][1]["seeds"] == 2


def test_numbers_of_single_images_are_those_kept(records, tmp_path):
    one = found(records, tmp_path, [1])["sets"][0]
    kept = arrays(11, dense=False)
    model = one["models"][1]
    assert (one["seed"], model["method"]) == (1, "magnitude@finetune")
    assert model["margin"] == [round(100 * float(m)) for m in kept["margin"]]
    assert model["angle"][5] == round(10 * float(kept["angles"][5, 5 % K]))
    wrong = kept["shown_said"] != kept["label"][kept["shown_row"]]
    assert model["lost"] == [int(wrong[kept["shown_row"] == i].sum()) for i in range(N)]
    assert set(model["shows"]) == {5}
    assert one["models"][3]["planes"].keys() == {"own"}
    assert model["kinds"][0] == pytest.approx((4 * 0.5 + 3 * (0.7 + 0.6 + 0.4)) / 13, abs=1e-5)


def test_many_images_and_showings_are_thinned(records, tmp_path, monkeypatch):
    monkeypatch.setattr(payload, "NUMBERS", 4 * 20 * (K + 10))
    monkeypatch.setattr(payload, "SHOWINGS", 50)
    one = found(records, tmp_path)["sets"][0]
    assert len(one["rows"]) == len(one["label"]) == len(one["models"][2]["said"]) == 20
    assert one["listed"] == "middle"
    assert set(one["shown"]["severity"]) == {3}
    assert len(one["shown"]["row"]) == len(one["models"][0]["shown_said"]) == 20
    assert all(0 <= row < 20 for row in one["shown"]["row"])
    assert one["pictures"]["columns"] * one["pictures"]["rows"] >= 20
    assert one["shown_pictures"]["at"] == list(range(20))
    assert one["models"][1]["lost"] == [
        lost for place, lost in enumerate(found_whole(records, tmp_path)) if place in one["rows"]
    ]


def found_whole(records, tmp_path) -> list[int]:
    kept = arrays(1, dense=False)
    wrong = kept["shown_said"] != kept["label"][kept["shown_row"]]
    return [int(wrong[kept["shown_row"] == i].sum()) for i in range(N)]


def test_the_right_picture_stands_for_each_image(records, tmp_path):
    import base64
    import io

    from PIL import Image

    one = found(records, tmp_path)["sets"][0]
    sheet = one["pictures"]
    seen = np.asarray(Image.open(io.BytesIO(base64.b64decode(sheet["src"].partition(",")[2]))))
    at = 13
    row, column = divmod(at, sheet["columns"])
    tile = seen[8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
    assert (tile == arrays(0, dense=True)["pictures"][at, 0]).all()
    colour = sprite.sprite(np.random.default_rng(0).integers(0, 256, (3, 3, 4, 4), dtype=np.uint8))
    assert Image.open(io.BytesIO(base64.b64decode(colour["src"].partition(",")[2]))).mode == "RGB"


def test_the_map_keeps_the_distances_of_networks_that_lie_in_a_plane():
    base = np.random.default_rng(0).normal(size=(3, 50))
    steps = [0.0, 1.0, 3.0, 3.5]
    parts = [tuple(base[q] * (1 + 0.1 * t) for q in range(3)) for t in steps]
    laid = models.layout(parts)
    assert laid["share"][0] == pytest.approx(1, abs=1e-3)
    x = [point[0] for point in laid["places"]]
    assert np.diff(x) / (x[-1] - x[0]) == pytest.approx(np.diff(steps) / 3.5, abs=1e-3)
    assert sorted(map(sorted, laid["edges"])) == [[0, 1], [1, 2], [2, 3]]


def test_the_spanning_tree_has_the_length_that_scipy_finds():
    from scipy.sparse.csgraph import minimum_spanning_tree

    points = np.random.default_rng(3).normal(size=(12, 4))
    distance = np.sqrt(((points[:, None] - points[None]) ** 2).sum(-1))
    edges = models.spanning_tree(distance)
    assert sum(distance[a, b] for a, b in edges) == pytest.approx(minimum_spanning_tree(distance).sum())
    assert len(models.spanning_tree(np.zeros((5, 5)))) == 4  # equal networks are joined too


def test_umap_is_used_where_it_is_asked_for_and_installed(records, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(UsageError, match="umap is not installed"):
        found(records, tmp_path, how="umap")

    class UMAP:
        def __init__(self, **options) -> None:
            assert options["n_neighbors"] == 3

        def fit_transform(self, vectors):
            return vectors[:, :2]

    monkeypatch.setitem(sys.modules, "umap", type(sys)("umap"))
    sys.modules["umap"].UMAP = UMAP
    assert found(records, tmp_path, how="umap")["sets"][0]["maps"]["clean"]["share"] is None
    with pytest.raises(UsageError, match="tsne"):
        found(records, tmp_path, how="tsne")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda records, kept: [], "run it first: sparsebench run toy"),
        (lambda records, kept: [without(r) for r in records], "add `measures: \\[geometry\\]`"),
        (lambda records, kept: gone(records, kept, lambda r: True), "name it with --store"),
        (lambda records, kept: gone(records, kept, lambda r: r.cell["method"] == "dense"), "no task and seed"),
    ],
)
def test_what_is_missing_is_named_with_the_remedy(records, tmp_path, change, message):
    with pytest.raises(UsageError, match=message):
        found(change(records, tmp_path / "measures"), tmp_path)


def without(record: Record) -> Record:
    return Record({key: value for key, value in record.data.items() if key != "measures"})


def gone(records, kept, which) -> list[Record]:
    for record in records:
        if which(record):
            (kept / record.data["cell_id"] / "geometry.safetensors").unlink()
    return records


def test_networks_without_arrays_are_left_out_and_counted(records, tmp_path):
    gone(records, tmp_path / "measures", lambda r: (r.cell["method"], r.cell["seed"]) == ("snip@init", 0))
    data = found(records, tmp_path)
    assert data["notes"] == ["1 of 8 networks failed or have no arrays: left out."]
    assert [m["method"] for m in data["sets"][0]["models"]] == ["dense", "magnitude@finetune", "l1@finetune"]
