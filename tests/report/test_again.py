"""A report says its tables before it makes files; that it is not made twice is tested in ``tests/test_scale.py``."""

from __future__ import annotations

from pathlib import Path

from sparsebench.report import again


def test_the_tables_are_said_before_the_files_are_made(tmp_path):
    done: list[str] = []
    page = tmp_path / "results" / "page.md"

    def report(there, console):
        done.append("tables")
        console.print(f"{len(there.files)} records")

        def make() -> list[Path]:
            done.append("files")
            page.write_text("page")
            return [page]

        return make

    record = page.parent / "m" / "0.json"
    record.parent.mkdir(parents=True)
    record.write_text("{}")
    parts = again.said(page.parent, {"name": "b"}, [], tmp_path / "memory", report)
    assert next(parts) == "1 records\n"
    assert done == ["tables"]
    assert list(parts) == [f"{page}\n"]
    assert done == ["tables", "files"]
