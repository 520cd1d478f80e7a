"""Measured: the stored network of a cell run on the test split once more, by the code that measured it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import isclose
from typing import Any

import torch

from sparsebench.agreement import same_machine
from sparsebench.grid.finish import shown_corrupted
from sparsebench.grid.hardware import Hardware
from sparsebench.grid.load import load_cell
from sparsebench.grid.state import logits
from sparsebench.grid.store import Store
from sparsebench.metrics.flops import macs
from sparsebench.metrics.quality import quality
from sparsebench.metrics.robustness import corrupted_accuracy
from sparsebench.provenance import provenance
from sparsebench.verify.report import unequal

TOLERANCE = {"top1": 0.01, "top5": 0.01, "worst_class": 0.05, "nll": 0.01, "ece": 0.01, "corrupted": 0.01}
"""Largest difference on other versions or hardware, of ``nll`` also as a share: one network, rounded otherwise."""


def again(data: Mapping[str, Any], store: Store, data_root: str | None, notes: list[str]) -> Iterator[str]:
    """Rule ``measure``: equal bit for bit in the circumstances of the record, else within ``TOLERANCE`` and noted."""
    where = data["provenance"]
    gpu = where["accelerator"] == "gpu" and torch.cuda.is_available()
    hardware = Hardware("gpu" if gpu else "cpu", threads=where["threads"], data_root=data_root)
    threads = torch.get_num_threads()
    torch.set_num_threads(hardware.threads)
    try:
        found = measure(data, store, hardware)
    finally:
        torch.set_num_threads(threads)
    here = provenance(accelerator=hardware.accelerator, threads=hardware.threads, world_size=1)
    same = same_machine(data, {"provenance": here})
    recorded = {**data["metrics"], **data["flops"], "data_digest": where["data_digest"]}
    recorded |= {key: data[key] for key in ("per_class", "corruptions") if key in data}
    for name, value in found.items():
        if value != recorded[name]:
            if same or not near(name, value, recorded[name]):
                yield from unequal(f"measured {name}", value, recorded[name], "the record's")
            else:
                notes.append(f"{data['cell_id']}: measured {name} is {value}, recorded elsewhere {recorded[name]}")


def measure(data: Mapping[str, Any], store: Store, hardware: Hardware) -> dict[str, Any]:
    """The data's digest, quality on the test split and multiply-accumulates, as a record has them."""
    stored = load_cell(data, store, hardware)
    net, masks = stored.loaded.net, stored.loaded.masks
    asked = data.get("corruptions", {}).get("set")  # records of older code have none
    clean, spoilt = stored.data.test_reading(asked)
    found = quality(*logits(net, clean))
    if asked:
        found["corruptions"] = shown = shown_corrupted(net, spoilt, asked, stored.data)
        found["corrupted"] = corrupted_accuracy(shown["kinds"], shown["counts"])
    masks = masks and masks.to(hardware.device)
    shape = stored.data.input_shape
    work = {"sparse": macs(net, shape, masks).sparse, "dense": macs(stored.whole, shape).dense}
    return {"data_digest": stored.data.digest, **found, **work}


def near(name: str, value: Any, recorded: Any) -> bool:
    """Whether two measurements of a metric agree up to rounding; others speak for the classes and corruptions."""
    if name in ("per_class", "corruptions"):
        return True
    if name not in TOLERANCE or None in (value, recorded):
        return False
    return isclose(value, recorded, rel_tol=TOLERANCE[name] if name == "nll" else 0.0, abs_tol=TOLERANCE[name])
