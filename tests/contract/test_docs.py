"""docs/methods.md and docs/protocol.md name everything that ships and say of each what its traits say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import sparsebench
from sparsebench.allocation import allocation
from sparsebench.methods import parse
from sparsebench.registry import criterion, modifier, regime

DOCS = Path(sparsebench.__file__).parent.parent / "docs"
pytestmark = pytest.mark.skipif(not DOCS.is_dir(), reason="an installed package has no pages beside it")
KINDS = [criterion, regime, modifier, allocation]


def page(name: str) -> str:
    """The text of a page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", (DOCS / name).read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("kind", "name"), [(k.kind, n) for k in KINDS for n in k.names()])
def test_the_zoo_names_it(kind, name):
    quoted = " ".join(re.findall(r"`([^`]+)`", page("methods.md")))
    assert re.search(rf"(?<![\w.]){re.escape(name)}(?![\w])", quoted), f"docs/methods.md does not name {kind} {name}"


def test_every_method_written_in_the_zoo_is_one():
    for text in re.findall(r"`([a-z_0-9]+(?:/[\w:+]+)*@[a-z_]+)`", page("methods.md")):
        assert parse(text).name


def scoring_table() -> dict[str, tuple[str, str, str]]:
    """Criterion -> (data, mode, rounds) as docs/protocol.md says."""
    rows, data = {}, ""
    for line in page("protocol.md").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 4 and cells[3].replace("all steps", "0").isdigit():
            data = data if cells[1] == "the same" else cells[1]
            rows |= {name.split("@")[0]: (data, cells[2], cells[3]) for name in re.findall(r"`([^`]+)`", cells[0])}
    return rows


@pytest.mark.parametrize("name", criterion.names())
def test_the_protocol_says_what_a_criterion_is_given(name):
    traits = criterion.entry(name).traits
    data, mode, rounds = scoring_table()[name]
    if name == "movement":
        assert "fine-tuning" in data
        return
    assert mode == traits.get("mode", "eval")
    assert int(rounds) == traits.get("rounds", 1)
    if "examples" in traits:
        assert data.startswith(f"{traits['examples']:,} training images")
    elif name in ("synflow", "lap"):
        assert "input" in data
    elif "per_class" in traits:
        assert data.startswith(f"{traits['per_class']} training images of every class")
    else:
        assert data == "none"
