"""Card: the page of a submission, README.md. Its table is checked; the text around it is its authors'."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sparsebench.submission.manifest import Manifest

UNVERIFIED = (
    "**Unverified.** These records were made with code that is not part of the submission: nothing here can be "
    "computed again. They were checked for what records alone can show."
)


def card(manifest: Manifest, table: str, provenance: Mapping[str, Any]) -> str:
    """The page; ``table`` is that of ``rows.markdown``."""
    board = f"{manifest.board} v{manifest.board_version}"
    return (
        "\n\n".join(
            part
            for part in (
                f"# {manifest.name} on {board}",
                UNVERIFIED if manifest.unverified else "",
                manifest.summary,
                _facts(manifest, provenance),
                "## Results\n\nMeans over seeds in percent, ± half a 95 % interval. Drop: points of top-1 lost against "
                "the dense network of the same seed. With more digits: `table.csv`; one file a cell: `results/`.",
                table,
                _again(manifest),
            )
            if part
        )
        + "\n"
    )


def _facts(manifest: Manifest, provenance: Mapping[str, Any]) -> str:
    commit = provenance.get("commit")
    facts = {
        "Authors": ", ".join(manifest.authors),
        "Paper": manifest.paper,
        "Methods": ", ".join(f"`{method}`" for method in manifest.methods),
        "Board": f"{manifest.board} v{manifest.board_version}, protocol {manifest.protocol}",
        "Records": f"{manifest.cells}, dense rows included",
        "Hardware": "; ".join(manifest.hardware),
        "Versions": ", ".join(f"{name} {version}" for name, version in manifest.versions.items() if version),
        "Code": f"sparsebench at commit {commit[:12]}" if commit else "sparsebench as released",
    }
    return "\n".join(f"- {name}: {value}" for name, value in facts.items() if value)


def _again(manifest: Manifest) -> str:
    lines = ["## Checking it", "```sh\nsparsebench validate .\n```"]
    if not manifest.unverified:
        board = manifest.board_file or manifest.board
        methods = manifest.method_file or " ".join(f'"{method}"' for method in manifest.methods)
        lines[1] = f"```sh\nsparsebench validate .\nsparsebench run {board} --methods {methods}\n```"
    return "\n\n".join(lines)
