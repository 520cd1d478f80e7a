"""The figures: what is drawn is the table, the same method looks the same everywhere."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from sparsebench.report import critical, curves, dots, figure, pareto_figure, standing_of
from sparsebench.report.drawn import figures as draw
from sparsebench.report.table import frame, leaderboard, select
from tests.report.conftest import METHODS, make_board


@pytest.fixture
def drawn(monkeypatch, build_all, board, tmp_path):
    """Both figures of a full board, kept instead of written, with the table they show."""
    kept = {}
    monkeypatch.setattr(curves, "save", lambda fig, stem: kept.update({stem.name: fig}) or [stem])
    cells, _ = select(frame(build_all(board)), board)
    table = leaderboard(cells, 3)
    curves.accuracy_figure(cells, table, board, tmp_path / "accuracy")
    curves.dead_neuron_figure(table, board, tmp_path / "dead")
    return kept, table


def test_a_panel_a_task_and_the_points_of_the_table(drawn, board):
    kept, table = drawn
    panels = kept["accuracy"].axes
    assert [axes.get_title(loc="left") for axes in panels] == board["tasks"]
    rows = table[(table["task"] == "digits-vgg8") & (table["method"] == "lamp@imp")].sort_values("sparsity")
    heights = [line.get_ydata() for line in panels[2].lines if len(line.get_ydata()) == 6]
    assert any(np.allclose(h, 100 * (1 - rows["top1"])) for h in heights)


def test_every_label_names_its_own_height(drawn):
    """The axis is in error, its labels in accuracy; better is higher; all points are inside."""
    for axes in drawn[0]["accuracy"].axes:
        low, high = axes.get_ylim()
        assert low > high
        for tick, label in zip(axes.get_yticks(), axes.get_yticklabels(), strict=True):
            assert float(label.get_text()) == pytest.approx(100 - tick)
        for line in axes.lines:
            points = np.asarray(line.get_ydata(), dtype=float)
            assert ((points <= low) & (points >= high)).all()


@pytest.mark.parametrize("sparsities", [[0.5, 0.75, 0.9], [0.5, 0.99], [0.9]])
def test_points_stay_inside_whatever_the_sparsities(build, small_board, tmp_path, monkeypatch, sparsities):
    kept = []
    monkeypatch.setattr(curves, "save", lambda fig, stem: kept.append(fig) or [stem])
    methods = [f"method{i}" for i in range(12)]
    board = {**small_board, "tasks": ["t"], "methods": methods, "sparsities": sparsities, "seeds": [0]}
    cells, _ = select(frame([build("t", m, s, 0, 0.9) for m in methods for s in sparsities]), board)
    curves.accuracy_figure(cells, leaderboard(cells, 1), board, tmp_path / "curves")
    axes = kept[0].axes[0]
    left, right = axes.get_xlim()
    drawn = np.concatenate([line.get_xdata() for line in axes.lines if len(line.get_xdata()) == len(sparsities)])
    assert len(drawn) == 12 * len(sparsities)
    assert ((drawn > left) & (drawn < right)).all()


def test_a_method_has_one_look_and_no_two_share_it(drawn, board):
    looks = figure.styles(board["methods"])
    assert len(set(looks.values())) == len(board["methods"])
    for fig in drawn[0].values():
        labels = [text.get_text() for text in fig.legends[0].get_texts()]
        assert set(labels) == {*board["methods"], "dense"}
        for handle, label in zip(fig.legends[0].legend_handles, labels, strict=True):
            if label != "dense":
                assert (handle.get_color(), handle.get_marker()) == (looks[label].colour, looks[label].marker)


def test_dead_neurons_leave_out_networks_without_relu(drawn, board):
    titles = [axes.get_title(loc="left") for axes in drawn[0]["dead"].axes]
    assert titles == ["digits-mlp", "digits-resnet8", "digits-vgg8", "", "", ""]


def test_nothing_to_draw_draws_nothing(build, small_board, tmp_path):
    cells, _ = select(frame([build("digits-mlp", "lamp@imp", 0.5, 0, None)]), small_board)
    table = leaderboard(cells, 3)
    assert curves.accuracy_figure(cells, table, small_board, tmp_path / "a") == []
    assert curves.dead_neuron_figure(table, small_board, tmp_path / "d") == []


def test_dodged_bars_stay_around_their_tick():
    for count, gap in itertools.product((1, 2, 13), (1.0, 0.32)):
        shifts = figure.dodge([0.5, float(1 - 0.5 ** (1 + gap))], count)
        assert len(shifts) == count
        assert shifts.sum() == pytest.approx(0)
        assert abs(shifts).max() <= gap / 4


def test_a_single_sparsity_and_seed_can_be_drawn(build, small_board, tmp_path):
    board = {**small_board, "tasks": ["t"], "methods": ["a"], "sparsities": [0.9], "seeds": [0]}
    cells, _ = select(frame([build("t", "a", 0.9, 0, 1.0)]), board)
    png, svg = curves.accuracy_figure(cells, leaderboard(cells, 1), board, tmp_path / "curves")
    assert png.read_bytes().startswith(b"\x89PNG")
    assert b"<dc:date>" not in svg.read_bytes()


def test_a_board_with_many_methods_gets_a_row_for_each(build_all, tmp_path, monkeypatch):
    kept = []
    monkeypatch.setattr(dots, "save", lambda fig, stem: kept.append(fig) or [stem])
    methods = [*METHODS, *(f"magnitude@finetune(epochs={i})" for i in range(10))]
    board = make_board(tasks=["digits-mlp", "digits-vit"], methods=methods, sparsities=[0.5, 0.75])
    cells, _ = select(frame(build_all(board)), board)
    table = leaderboard(cells, 3)
    curves.accuracy_figure(cells, table, board, tmp_path / "accuracy")
    assert curves.dead_neuron_figure(table, board, tmp_path / "dead") == []
    means = table[table["method"] != "dense"].groupby("method")["top1"].mean()
    labels = [label.get_text() for label in kept[0].axes[0].get_yticklabels()]
    assert labels == list(means.sort_values(ascending=False, kind="stable").index)
    assert sorted(labels) == sorted(methods)
    for task, axes in zip(board["tasks"], kept[0].axes, strict=True):
        assert axes.get_title(loc="left") == task
        drawn = sorted(x for line in axes.lines if line.get_marker() == "o" for x in line.get_xdata())
        shown = table[(table["task"] == task) & (table["method"] != "dense")]
        assert np.allclose(drawn, sorted(100 * (1 - shown["top1"])))


LONG = ["magnitude/uniform+@finetune(epochs=0.125,rate=0.05)", "small_dense(match='flops')", "wanda/2:4@oneshot"]


@pytest.mark.parametrize("many", [False, True], ids=["lines", "dots"])
def test_no_text_is_cut_off_at_the_sides(build_all, tmp_path, monkeypatch, many):
    kept = {}
    for module in (curves, dots, pareto_figure, critical):
        monkeypatch.setattr(module, "save", lambda fig, stem: kept.update({stem.name: fig}) or [stem])
    methods = [*LONG, *(f"{LONG[0]}+kd(alpha={i})" for i in range(20 * many))]
    board = make_board(tasks=["digits-mlp", "digits-vit"], methods=methods, sparsities=[0.5, 0.75])
    draw(standing_of(frame(build_all(board)), board), tmp_path)
    assert kept.keys() == {"curves", "pareto", "cd"} | (set() if many else {"dead_neurons"})
    for name, fig in kept.items():
        FigureCanvasAgg(fig).draw()
        shown = {text.get_text(): text.get_window_extent() for text in fig.findobj(Text) if text.get_visible()}
        assert any(method in text for method in LONG for text in shown), name
        for text, box in shown.items():
            assert not text or (fig.bbox.x0 <= box.x0 and box.x1 <= fig.bbox.x1), f"{name}: {text}"
