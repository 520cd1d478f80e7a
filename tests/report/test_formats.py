"""Formats: what is written is read back, what cannot be written is said before any work."""

from __future__ import annotations

import gzip
import io
import json
import re
import shutil
import subprocess

import pandas as pd
import pytest

from sparsebench.cli import main
from sparsebench.errors import UsageError
from sparsebench.record import Record
from sparsebench.report import formats, read
from sparsebench.report.cells import Cell, Grid
from sparsebench.report.formats import frames, parquet, tex
from sparsebench.report.kept import kept
from tests.report.conftest import make_board, make_record, make_records

ODD = r"odd_name{x}\y#1%&$~^<|>'`\"@init"


@pytest.fixture
def board() -> dict:
    return make_board(["digits-mlp", "digits-vit"], ["magnitude@imp", "lamp@imp", "late@imp"], [0.5, 0.9])


@pytest.fixture
def folder(board, results):
    """A full board with a failed cell and a method of which a seed is missing."""
    records = [r for r in make_records(board) if (r.cell["method"], r.cell["seed"]) != ("late@imp", 2)]
    place = next(i for i, r in enumerate(records) if r.cell["method"] == "lamp@imp")
    records[place] = make_record(*records[place].cell.values(), None)
    return results(records)


@pytest.fixture
def standing(folder, board):
    return read(folder, board)


def test_json_gives_back_every_frame(standing, tmp_path):
    path = tmp_path / "leaderboard.json.gz"
    path.write_bytes(frames.content(standing))
    found = frames.read(path)
    assert {"cells", "rows", "summary"} <= set(found)
    for name, back in found.items():
        frame = getattr(standing, name)
        frame = frame if isinstance(frame.index, pd.RangeIndex) else frame.reset_index()
        # A missing text is None in one and NaN in the other; numbers must be equal to the last digit.
        assert list(back.columns) == list(frame.columns)
        for column in frame:
            assert plain(back[column]) == plain(frame[column])
        for column in frame.select_dtypes("number"):
            assert pd.api.types.is_numeric_dtype(back[column])


def plain(column: pd.Series) -> list:
    return [None if pd.isna(value) else value for value in column.tolist()]


def test_json_is_json_for_everybody(standing):
    """No NaN, which JavaScript and others refuse."""
    data = json.loads(frames.text(standing), parse_constant=lambda text: pytest.fail(f"{text} is not JSON"))
    assert data["schema"] == frames.SCHEMA
    assert data["board"]["tasks"] == ["digits-mlp", "digits-vit"]
    assert data["sentences"] == standing.sentences


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"schema": 9, "frames": {}}'])
def test_json_that_is_no_leaderboard_is_refused(tmp_path, content):
    for path, written in {"x.json": content.encode(), "x.gz": gzip.compress(content.encode())}.items():
        (tmp_path / path).write_bytes(written)
        with pytest.raises(UsageError, match=re.escape(path)):
            frames.read(tmp_path / path)


def test_what_is_written_is_not_taken_for_a_record(standing, folder, board):
    formats.write(standing, folder, formats.wanted(["html", "json", "tex", "csv"]))
    assert read(folder, board).notes == standing.notes


def test_parquet_gives_back_every_record(standing, folder):
    pytest.importorskip("pyarrow")
    records = kept(standing, folder)
    table = pd.read_parquet(io.BytesIO(parquet.content(records)))
    assert len(table) == len(standing.cells)
    for (path, record), row in zip(records, table.to_dict("records"), strict=True):
        assert row["path"] == path
        assert (row["cell.task"], row["cell.seed"]) == (record.cell["task"], record.cell["seed"])
        assert json.loads(row["settings"]) == record.data["settings"]
        assert json.loads(row["sparsity.layers"]) == record.data["sparsity"]["layers"]
        assert list(row["per_class.tp"]) == record.data["per_class"]["tp"]
        assert row["provenance.versions.torch"] == record.data["provenance"]["versions"]["torch"]
        for name, value in record.data["metrics"].items():
            assert (value is None and pd.isna(row[f"metrics.{name}"])) or row[f"metrics.{name}"] == value
    failed = table[table["status"] == "failed"]
    assert failed["metrics.top1"].isna().all()
    assert failed["error"].tolist() == ["RuntimeError: out of memory"]


def test_parquet_takes_fields_that_disagree():
    """A field of a later version, or of somebody else's code, must not stop the export."""
    pytest.importorskip("pyarrow")
    changes = [{"new": 1}, {"new": "one"}, {"new": {"deep": [1, 2]}}, {"new": [{"a": 1}]}, {}]
    records = [make_record("t", "m", 0.5, seed, 0.9, **change) for seed, change in enumerate(changes)]
    table = pd.read_parquet(io.BytesIO(parquet.content([("p", record) for record in records])))
    assert [json.loads(text) for text in table["new"].dropna()][:2] == [1, "one"]
    assert list(table["new.deep"][2]) == [1, 2]


def test_csv_is_the_rows(standing, folder):
    found = formats.write(standing, folder, ["csv"])
    assert [path.name for path in found] == ["leaderboard.csv", "ranking.csv"]
    back = pd.read_csv(found[0], keep_default_na=False, na_values=[""])
    assert back["method"].tolist() == standing.rows["method"].tolist()
    assert back["top1"].to_numpy() == pytest.approx(standing.rows["top1"].to_numpy(), rel=1e-5, nan_ok=True)


def test_tex_has_a_row_a_method_and_columns_that_fit(standing):
    """The structure that LaTeX checks: braces, environments, cells of every row."""
    text = tex.tables(standing)
    bare = re.sub(r"\\[{}]", "", text)
    assert bare.count("{") == bare.count("}")
    opened = re.findall(r"\\begin\{(\w+)\}", text)
    assert sorted(opened) == sorted(re.findall(r"\\end\{(\w+)\}", text))
    assert opened.count("tabular") == 3
    for table in re.findall(r"\\begin\{tabular\}\{(l r*|lr*)\}(.*?)\\end\{tabular\}", text, re.DOTALL):
        lines = [line for line in table[1].splitlines() if line.endswith(r"\\")]
        assert len(lines) == 1 + 3
        assert {len(re.findall(r"(?<!\\)&", line)) + 1 for line in lines} == {len(table[0])}
        assert r"\toprule" in table[1]
        assert r"\bottomrule" in table[1]


def test_tex_draws_the_line_above_what_is_not_ranked(standing):
    text = tex.tables(standing)
    overall = text[: text.index(r"\end{tabular}")]
    body = overall.split(r"\midrule")
    assert len(body) == 3
    assert "magnitude@imp" in body[1]
    assert "late@imp" in body[2]
    assert "lamp@imp" in body[2]


def test_tex_escapes_every_sign():
    line = tex.table(Grid(["method", "50 %"], [[Cell(ODD, "code"), Cell("1 ± 2 ≈ \x00 漢")]]), "c", "a b_{}", set())
    inside = re.search(r"\\texttt\{(.*)\} &", line)[1]
    for sign in "#%&$_{}":
        assert f"\\{sign}" in inside
    assert not re.search(r"(?<!\\)[#%&$_^~<>|\"'`]", inside)
    assert r"\label{tab:ab}" in line
    assert r"1 $\pm$ 2 $\approx$ ? ?" in line


def test_long_tables_run_over_pages():
    grid = Grid(["method", "50 %"], [[Cell(f"m{i}", "code"), Cell("1")] for i in range(tex.FEW + 1)])
    text = tex.table(grid, "c", "l", {f"m{i}" for i in range(tex.FEW)})
    assert r"\begin{longtable}{lr}" in text
    assert text.count(r"\midrule") == 2


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_tex_compiles(standing, tmp_path):
    (tmp_path / "t.tex").write_text(
        "\\documentclass{article}\\usepackage[T1]{fontenc}\\usepackage{booktabs,longtable,textcomp}\n"
        f"\\begin{{document}}{tex.tables(standing)}\\end{{document}}"
    )
    done = subprocess.run(["pdflatex", "-halt-on-error", "t.tex"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]


def test_all_is_every_format():
    pytest.importorskip("pyarrow")
    assert formats.wanted(["all"]) == ("md", "csv", "tex", "json", "parquet", "html")


def test_parquet_without_pyarrow_is_said_before_any_work(monkeypatch):
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    assert formats.wanted(["html"]) == ("html",)
    for asked in (["parquet"], ["all"]):
        with pytest.raises(UsageError, match=re.escape("pip install 'sparsebench[page]'")):
            formats.wanted(asked)


def test_the_command_writes_what_is_asked_for(results, monkeypatch, capsys, tmp_path):
    from sparsebench.grid import board as boards

    version = boards.load("quick").version
    made = make_board(["digits-mlp"], ["magnitude@imp"], [0.75])
    folder = results([Record({**r.data, "board_version": version}) for r in make_records(made)])
    monkeypatch.chdir(tmp_path)
    words = ["report", "quick", "--results", str(tmp_path)]
    assert main([*words, "--format", "html,json", "tex"]) == 0
    said = capsys.readouterr().out.splitlines()
    names = ["leaderboard.html", "leaderboard.json.gz", "leaderboard.tex"]
    assert said[-3:] == [str(folder / name) for name in names]
    assert sorted(path.name for path in folder.glob("*.*")) == names
    assert main([*words, "--format", "htm"]) == 2
    assert "did you mean 'html'?" in capsys.readouterr().err
    assert main([*words, "--no-figures"]) == 0
    assert {"leaderboard.md", "leaderboard.csv"} < {path.name for path in folder.glob("*.*")}
