"""``sparsebench export CELL --to FILE``"""

from __future__ import annotations

from sparsebench.cli.show import find
from sparsebench.record import Record


def command(arguments) -> int:
    from sparsebench.export import export
    from sparsebench.grid.hardware import Hardware
    from sparsebench.grid.load import load_cell
    from sparsebench.grid.store import Store

    record = Record.load(find(arguments.cell, arguments.store, arguments.results)).data
    stored = load_cell(record, Store(arguments.store), Hardware(data_root=arguments.data))
    # A graph is smaller without the units that were taken out; weights are for the network that everybody has.
    net, masks = stored.as_measured if arguments.to.endswith(".onnx") else stored.in_full
    cell = {key: record["cell"][key] for key in ("task", "method", "sparsity", "seed")}
    about = {**cell, "network": stored.task.network, "network_arguments": stored.network_arguments}
    written = export(net, arguments.to, masks, example=stored.example(64), metadata=about)
    checked = f", within {written['largest_difference']:.1g} of torch" if "largest_difference" in written else ""
    achieved = record["sparsity"]["achieved"]
    print(f"{written['path']}: {written['bytes'] / 2**20:.2f} MB, sparsity {achieved:.4f}{checked}")
    return 0
