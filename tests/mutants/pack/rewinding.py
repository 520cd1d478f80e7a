"""Known bugs in going back to an earlier moment of a training."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

SNAPSHOT = "tests/test_snapshot.py"
REWIND = "tests/callbacks/test_rewind.py"
POINTS = "tests/grid/test_rewind_points.py"

MUTANTS = [
    Mutant(
        name="rewind_point_shares_storage_with_live_weights",
        file="sparsebench/snapshot.py",
        edits={'t.detach().to("cpu", copy=True)': 't.detach().to("cpu")'},
        seen="A state dict is kept without a copy: the recorded state trains along (VITA-Group/BERT-Tickets#19).",
        effect="Rewinding does nothing: weight rewinding is reported, fine-tuning was done.",
        rule=6,
        killed_by=(
            f"{SNAPSHOT}::test_no_storage_is_shared_before_or_after_restoring",
            f"{REWIND}::test_step_zero_is_the_state_before_training",
        ),
    ),
    Mutant(
        name="restoring_hands_out_the_rewind_point",
        file="sparsebench/snapshot.py",
        edits={"content = tree.map_tensors(self.tree, torch.clone)": "content = self.tree"},
        seen="The first rewind is right; it puts the recorded tensors themselves into the optimiser, and the next "
        "round trains on them.",
        effect="From the second round on the momentum is not the rewind point's.",
        rule=6,
        killed_by=(f"{SNAPSHOT}::test_no_storage_is_shared_before_or_after_restoring",),
    ),
    Mutant(
        name="batch_norm_statistics_not_rewound",
        file="sparsebench/snapshot.py",
        edits={
            'module.load_state_dict(content["model"])': (
                'module.load_state_dict({n: content["model"][n] for n, _ in module.named_parameters()}, strict=False)'
            )
        },
        seen="Only parameters are put back; running means and variances stay those of the trained network.",
        effect="The rewound network begins with statistics of another one; accuracy before training is meaningless.",
        rule=6,
        killed_by=(f"{REWIND}::test_everything_goes_back_equal_by_digest[sgd]",),
    ),
    Mutant(
        name="lottery_ticket_is_not_reset",
        file="sparsebench/grid/perform.py",
        edits={
            'state.net.load_state_dict(load_file(store.stage(point) / "weights.safetensors"))': (
                'load_file(store.stage(point) / "weights.safetensors")'
            )
        },
        seen="The rewind point is found and not loaded, so training goes on from somewhere else "
        "(Lightning's own callback: Lightning-AI/pytorch-lightning#13643).",
        effect="Late rewinding is rewinding to initialisation under another name.",
        rule=6,
        killed_by=(f"{POINTS}::test_every_round_starts_from_the_point_under_its_masks",),
    ),
    Mutant(
        name="optimiser_state_not_rewound",
        file="sparsebench/grid/perform.py",
        edits={
            'state.optimizer = tree.load(store.stage(point) / "optimizer.safetensors")': "state.optimizer = None",
        },
        seen="Weights go back to a later step, momentum begins at zero.",
        effect="The rewound training is not a replay of the dense one from that step.",
        rule=6,
        killed_by=(f"{POINTS}::test_every_round_starts_from_the_point_under_its_masks",),
    ),
    Mutant(
        name="schedule_not_rewound",
        file="sparsebench/snapshot.py",
        edits={"            scheduler.load_state_dict(state)": "            continue"},
        seen="Weights are rewound, the learning rate stays where it was, near zero.",
        effect="Every round after the first hardly trains.",
        rule=6,
        killed_by=(f"{REWIND}::test_everything_goes_back_equal_by_digest[sgd]",),
    ),
    Mutant(
        name="learning_rate_starts_over_after_rewinding",
        file="sparsebench/grid/training.py",
        edits={"        first_step=behind * per_epoch,\n": "        first_step=0,\n"},
        seen="After rewinding to a later step the schedule starts at step 0, warm-up and all.",
        effect="The rewound training gets another rate at every step than the dense one had.",
        rule=None,
        killed_by=(f"{POINTS}::test_the_schedule_continues_where_it_was",),
    ),
    Mutant(
        name="momentum_in_another_memory_layout",
        file="sparsebench/snapshot.py",
        edits={
            "                values[name] = torch.empty_like(param, dtype=value.dtype).copy_(value)": (
                "                continue"
            )
        },
        seen="Stored momentum is contiguous, the weight is channels_last: a fused optimiser pairs wrong entries.",
        effect="A resumed or rewound training moves weights by other weights' momentum.",
        rule=None,
        killed_by=(f"{SNAPSHOT}::test_a_file_restores_the_momentum_of_channels_last_weights",),
    ),
]
