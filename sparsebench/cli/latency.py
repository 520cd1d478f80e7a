"""``sparsebench latency CELL``"""

from __future__ import annotations

import json

from sparsebench.cli.accelerator import choose_accelerator
from sparsebench.cli.show import find
from sparsebench.errors import UsageError
from sparsebench.record import Record

PRECISIONS = {"32": "float32", "bf16": "bfloat16", "16": "float16"}


def command(arguments) -> int:
    accelerator = choose_accelerator(arguments.accelerator)
    if arguments.precision not in PRECISIONS:
        raise UsageError(f"--precision {arguments.precision!r} is not one of {', '.join(PRECISIONS)}")
    record = Record.load(find(arguments.cell, arguments.store, arguments.results)).data
    from sparsebench.grid.forms import forms
    from sparsebench.grid.hardware import Hardware
    from sparsebench.grid.load import load_cell
    from sparsebench.grid.store import Store
    from sparsebench.latency import latency, render
    from sparsebench.provenance import hardware

    stored = load_cell(record, Store(arguments.store), Hardware(accelerator, data_root=arguments.data))
    found = forms(stored, record["sparsity"]["achieved"], PRECISIONS[arguments.precision])
    rows = latency(
        found.networks,
        stored.data.input_shape,
        batch_sizes=arguments.batch_sizes,
        threads=arguments.threads,
        repeats=arguments.repeats,
    )
    where = f"{hardware(accelerator)}, {PRECISIONS[arguments.precision]}"
    if arguments.json:
        print(json.dumps({"cell": record["cell"], "hardware": where, "rows": rows, "missing": found.missing}, indent=1))
        return 0
    cell = record["cell"]
    print(f"{cell['task']}  {cell['method']}  sparsity {cell['sparsity']:g}  seed {cell['seed']}, on {where}\n")
    print(render(rows, found.missing))
    return 0
