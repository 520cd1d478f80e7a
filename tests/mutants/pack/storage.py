"""Known bugs in names, files and records."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

RECORD = "tests/test_record.py"

MUTANTS = [
    Mutant(
        name="edited_record_believed",
        file="sparsebench/record.py",
        edits={'        if data.get("digest") != found:': "        if False:"},
        seen="Results are typed by hand into tables, or corrected in the file.",
        effect="A number on the board that no run gave.",
        rule=None,
        killed_by=(f"{RECORD}::test_an_edited_number_is_noticed", f"{RECORD}::test_a_removed_digest_is_noticed"),
    ),
    Mutant(
        name="digest_covers_only_the_metrics",
        file="sparsebench/seal.py",
        edits={
            "for key, value in data.items() if key != FIELD}": 'for key, value in data.items() if key == "metrics"}'
        },
        seen="A checksum of the numbers, not of what they are numbers of.",
        effect="A record of one seed or method passes for another's.",
        rule=None,
        killed_by=(f"{RECORD}::test_whatever_is_edited_in_a_new_record_is_noticed",),
    ),
    Mutant(
        name="quick_check_believes_what_it_reads",
        file="sparsebench/seal.py",
        edits={"    return data if sha256(written).hexdigest() == data.get(FIELD) else None": "    return data"},
        seen="A fast path beside the careful one leaves the check out.",
        effect="A number on the board that no run gave.",
        rule=None,
        killed_by=(
            f"{RECORD}::test_an_edited_number_is_noticed",
            "tests/test_seal.py::test_every_edited_digit_that_changes_a_value_is_noticed",
        ),
    ),
    Mutant(
        name="same_cell_counted_twice",
        file="sparsebench/record.py",
        edits={"            if first is not path:": "            if False:"},
        seen="A copied result file counts as one more seed.",
        effect="The interval gets narrower with every copy.",
        rule=None,
        killed_by=(f"{RECORD}::test_load_all_reports_every_corrupt_file_and_goes_on",),
    ),
    Mutant(
        name="file_written_in_place",
        file="sparsebench/files.py",
        edits={'        with open(temporary, "wb") as file:': '        with open(path, "wb") as file:'},
        seen="Checkpoints and results are overwritten where they lie; a kill in the middle leaves half a file.",
        effect="A run that was killed cannot go on, or goes on from what happens to parse.",
        rule=None,
        killed_by=(f"{RECORD}::test_an_interrupted_write_leaves_the_old_file",),
    ),
    Mutant(
        name="seed_missing_in_the_name",
        file="sparsebench/grid/plan.py",
        edits={"seed=canonical(cell.seed), history": 'seed="0", history'},
        seen="Outputs are cached under a name that leaves out a setting; another run's file is taken for this one's.",
        effect="All seeds are one training: the deviation is 0.",
        rule=None,
        killed_by=("tests/test_plan.py::test_the_quick_board_shares_its_trainings",),
    ),
    Mutant(
        name="history_missing_in_the_name",
        file="sparsebench/grid/plan.py",
        edits={"list_text(map(list_text, texts))": "list_text([list_text(texts[-1])])"},
        seen="A stage is named by what it does, not by what it starts from.",
        effect="Two methods that end alike share a result that belongs to the first one computed.",
        rule=None,
        killed_by=("tests/test_plan.py::test_stages_that_do_the_same_after_different_pasts_are_two",),
    ),
    Mutant(
        name="checkpoint_runs_code",
        file="sparsebench/grid/training.py",
        edits={
            'torch.load(checkpoint, map_location="cpu", weights_only=True)': (
                'torch.load(checkpoint, map_location="cpu", weights_only=False)'
            )
        },
        seen="Checkpoints are pickles; loading one from elsewhere runs what it says.",
        effect="Whoever can write into the store can run programs, and make any number.",
        rule=None,
        killed_by=("tests/grid/test_checkpoint_code.py::test_a_checkpoint_that_holds_code_is_set_aside_and_not_run",),
    ),
    Mutant(
        name="stored_stage_believed",
        file="sparsebench/grid/store.py",
        edits={
            "if sha256((folder / file).read_bytes()).hexdigest() != digest:": "if False:",
        },
        seen="A cached artifact is used because a file of that name is there.",
        effect="Damaged or exchanged weights are measured as if a training had made them.",
        rule=None,
        killed_by=("tests/grid/test_store.py::test_altered_files_of_a_stage_are_noticed",),
    ),
]
