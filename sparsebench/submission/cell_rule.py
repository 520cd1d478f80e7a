"""Cell rule: a whole cell of the method, dense network included, on digits with a small network and two epochs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from sparsebench.grid.board import from_text
from sparsebench.grid.hardware import Hardware
from sparsebench.grid.jobs import Context
from sparsebench.grid.run import run
from sparsebench.methods import parse
from sparsebench.registry import criterion
from sparsebench.submission.rule import Rule, rule

RULES: list[Rule] = []
BOARD = """
name: check
version: 1
title: Check
tasks:
  - {base: TASK, name: small, network_arguments: ARGUMENTS, recipe: {epochs: 2, mask_every: 4}}
methods: ["METHOD"]
sparsities: [SPARSITY]
seeds: [0]
"""
MLP = ("digits-mlp", "{hidden: [16, 12]}")
WITH_BATCH_NORM = ("digits-resnet8", "{width: 4}")


@dataclass
class Written:
    """A method string and the file it is from."""

    text: str
    file: Path
    notes: dict[str, str] = field(default_factory=dict)


@rule(
    RULES,
    "a small cell trains to its end, and its audit passes",
    "read the error, or which rule of the audit failed (docs/architecture.md, The audit)",
)
def cell(subject: Written) -> Iterator[str]:
    import torch

    method = parse(subject.text)
    needs = method.scorer and criterion.entry(method.scorer.criterion).traits.get("needs")
    task, arguments = WITH_BATCH_NORM if needs == "norm" else MLP
    sparsity = 0.75 if method.fixed_sparsity is None else method.fixed_sparsity
    values = {"TASK": task, "ARGUMENTS": arguments, "METHOD": subject.text, "SPARSITY": str(sparsity)}
    text = BOARD
    for key, value in values.items():
        text = text.replace(key, value)
    board, threads = from_text(text, "check"), torch.get_num_threads()
    try:
        with TemporaryDirectory(prefix="sparsebench-check-") as store:
            context = Context(store, Hardware(), "sparsebench check", (str(subject.file),))
            result = run(board, context, 1, launcher="inline")
    finally:
        torch.set_num_threads(threads)
    yield from dict.fromkeys(result.failed.values())
    for record in result.records.values():
        if record.cell["method"] != "dense":
            subject.notes["cell"] = f"{100 * record.data['metrics']['top1']:.1f} % after two epochs"
            for verdict in record.data["audit"]:
                if not verdict["passed"]:
                    yield f"audit rule {verdict['rule']}, {verdict['name']}: {verdict['detail']}"
