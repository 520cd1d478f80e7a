"""Compiled training steps: asked for by a recipe, equal up to rounding, audited as ever, and repeated bit for bit."""

from __future__ import annotations

from dataclasses import replace
from shutil import which

import pytest
import torch

from sparsebench.cli import main
from sparsebench.tasks import from_settings, task
from tests.grid.conftest import MLP, TINY, run_inline, tiny_board

needs_compiler = pytest.mark.skipif(which("g++") is None, reason="torch.compile needs a C++ compiler on a CPU")
COMPILED = MLP.replace("epochs: 3", "epochs: 3, compile: default")


@needs_compiler
def test_a_compiled_board_is_audited_and_its_losses_are_those_of_an_eager_one(tmp_path, monkeypatch):
    steps, compile_ = [], torch.compile

    def watched(function, mode):
        compiled = compile_(function, mode=mode)
        return lambda x: steps.append(mode) or compiled(x)

    monkeypatch.setattr(torch, "compile", watched)
    results = {
        name: run_inline(tiny_board("magnitude@gmp", task=text), tmp_path / name).records.values()
        for name, text in {"eager": MLP, "compiled": COMPILED, "again": COMPILED}.items()
    }
    per_epoch = 1197 // 128
    assert steps == ["default"] * 2 * 2 * 3 * per_epoch, "two boards of two trainings of three epochs"
    for eager, compiled, again in zip(*results.values(), strict=True):
        assert eager.cell == compiled.cell == again.cell
        assert compiled.audit_passed
        assert compiled.data["curves"]["losses"] == pytest.approx(eager.data["curves"]["losses"], rel=1e-3)
        assert compiled.data["sparsity"] == eager.data["sparsity"]
        for field in ("metrics", "curves"):
            assert compiled.data[field] == again.data[field]


def test_a_task_that_does_not_ask_keeps_its_name():
    plain = task("digits-mlp")
    asked = replace(plain, recipe=replace(plain.recipe, compile="default"))
    assert "compile" not in plain.settings()["recipe"]
    assert asked.settings()["recipe"]["compile"] == "default"
    assert from_settings(asked.settings()) == asked
    assert asked.text != plain.text


def test_a_machine_without_a_compiler_refuses_before_any_work(tmp_path, monkeypatch, capsys):
    board = tmp_path / "board.yaml"
    board.write_text(TINY.format(task=COMPILED, methods="[dense]", sparsities=[0.5]))
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.chdir(tmp_path)
    assert main(["run", str(board), "--accelerator", "cpu"]) == 2
    said = capsys.readouterr().err
    assert "asks for compile='default', which needs a C++ compiler, and no-such-compiler is not found" in said
    assert not (tmp_path / ".sparsebench").exists()
