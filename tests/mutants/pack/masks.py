"""Known bugs in holding a network to its masks while it trains."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

PRUNER = "tests/callbacks/test_pruner.py"
DYNAMIC = "tests/callbacks/test_dynamic.py"

MUTANTS = [
    Mutant(
        name="momentum_revives_pruned_weights",
        file="callbacks/upkeep.py",
        edits={
            "        torch._foreach_mul_(*self._all)": "        return",
            "            value.mul_(self._factors[name].to(value.device, value.dtype))": "            continue",
        },
        seen="Gradients are masked, momentum is not, so the optimiser moves what was just pruned "
        "(he-y/filter-pruning-geometric-median#47, ruihangdu/PyTorch-Deep-Compression#2).",
        effect="The network is denser than its record says, and more accurate.",
        rule=2,
        killed_by=(
            f"{PRUNER}::test_zero_after_every_step[cubic-sgd]",
            f"{PRUNER}::test_zero_after_every_step[cubic-adamw]",
        ),
    ),
    Mutant(
        name="stale_moments_of_pruned_weights",
        file="callbacks/upkeep.py",
        edits={"            value.mul_(self._factors[name].to(value.device, value.dtype))": "            continue"},
        seen="Weights are masked after every step, the optimiser's moments never: they lie in wait for a weight that "
        "returns.",
        effect="A weight that grows again starts with a velocity from before it was pruned.",
        rule=2,
        killed_by=("tests/callbacks/test_upkeep.py::test_leaks_counts_weights_and_each_state_tensor",),
    ),
    Mutant(
        name="masked_only_in_the_optimisers_one_thought_of",
        file="callbacks/upkeep.py",
        edits={
            "        hooked = [o for o in optimizers if not (gradients_are_masked and type(o) in LEAVE_ZERO)]": (
                "        hooked = []"
            )
        },
        seen="Masks are applied once, or by a wrapper that a loop goes around, and the optimiser's own step trains "
        "pruned weights (asked in jacobgil/pytorch-pruning#41).",
        effect="Pruned weights are trained like all others.",
        rule=2,
        killed_by=(f"{PRUNER}::test_weights_stay_zero_also_under_the_optimisers_that_lightning_does_not_see",),
    ),
    Mutant(
        name="gradients_clipped_before_they_are_masked",
        file="callbacks/pruner.py",
        edits={
            "optimizer) -> None:\n        self._upkeep.mask_gradients()": "optimizer) -> None:\n        return",
        },
        seen="The gradient norm is taken over all weights; behind an emptied filter batch norm makes the part of "
        "pruned weights the larger one by orders of magnitude.",
        effect="With clipping, steps become tiny: the network does not train, and the method gets the blame.",
        rule=None,
        killed_by=(f"{PRUNER}::test_clipping_sees_kept_weights_only",),
    ),
    Mutant(
        name="weight_decay_eats_dormant_weights",
        file="callbacks/latent_upkeep.py",
        edits={
            "torch._foreach_lerp_(list(self.latent.values()), list(self.params.values()), factors)": (
                "torch._foreach_copy_(list(self.latent.values()), list(self.params.values()))"
            )
        },
        seen="Weights outside the trained set go through the optimiser too, so that decay or masking changes what "
        "should wait unchanged (latent weights: Top-KAST, movement).",
        effect="What was pruned once never returns: a dynamic method turns into a static one.",
        rule=None,
        killed_by=(
            "tests/callbacks/test_latent.py::test_the_trajectory_is_that_of_a_loop_by_hand[topkast-sgd-None]",
            "tests/callbacks/test_latent.py::test_the_trajectory_is_that_of_a_loop_by_hand[movement-adamw-0.05]",
        ),
    ),
    Mutant(
        name="masks_lost_on_resume",
        file="callbacks/pruner.py",
        edits={
            'self.masks = None if state["masks"] is None else Masks(state["masks"])': "self.masks = None",
        },
        seen="Masks are not in the checkpoint, or saving removes them: a resumed run trains dense or with other masks "
        "(Lightning-AI/pytorch-lightning#6073).",
        effect="The network of a run that was killed once is denser than asked for.",
        rule=1,
        killed_by=(f"{PRUNER}::test_killed_and_resumed_equals_uninterrupted_bit_for_bit[init-hook]",),
    ),
    Mutant(
        name="schedule_starts_again_on_resume",
        file="callbacks/pruner.py",
        edits={
            'self._done, self.leaked = state["done"], state["leaked"]': 'self.leaked = state["leaked"]',
        },
        seen="A pruning schedule keeps its counter in the object, not in the checkpoint.",
        effect="After a resume the network is pruned once more than the schedule says, at the wrong step.",
        rule=None,
        killed_by=(f"{PRUNER}::test_resumed_in_the_middle_of_an_epoch_the_schedule_goes_on",),
    ),
    Mutant(
        name="random_state_lost_on_resume",
        file="callbacks/random_state.py",
        edits={'        torch.set_rng_state(state["torch"].cpu())\n': ""},
        seen="Checkpoints hold weights and optimiser, not the generators: dropout and order differ after a resume.",
        effect="The same cell gives two numbers, depending on whether it was interrupted.",
        rule=None,
        killed_by=(
            "tests/callbacks/test_random_state.py::test_python_numpy_torch_and_the_order_of_examples_continue[True]",
        ),
    ),
    Mutant(
        name="every_rank_chooses_its_own_masks",
        file="callbacks/ranks.py",
        edits={"    dist.broadcast(flat, src=0)\n": ""},
        seen="Each process makes masks from its own random numbers; gradients are averaged over different networks "
        "(neuralmagic/sparseml#429).",
        effect="What is saved is rank 0's network with weights that other masks have trained.",
        rule=4,
        killed_by=("tests/callbacks/test_ranks.py::test_all_ranks_hold_the_masks_of_rank_0",),
    ),
    Mutant(
        name="ranks_that_differ_go_on",
        file="callbacks/ranks.py",
        edits={"    if len(set(digests)) > 1:": "    if not digests:"},
        seen="Nobody compares: memory that one process corrupted, or a broadcast into the wrong buffer, stays unseen.",
        effect="As above, in silence.",
        rule=4,
        killed_by=("tests/callbacks/test_ranks.py::test_a_rank_that_differs_all_the_same_stops_the_run",),
    ),
    Mutant(
        name="rigl_grows_by_masked_gradients",
        file="callbacks/dynamic.py",
        edits={
            "        if like_automatic(pl_module):\n            self._note_gradients(trainer, pl_module)\n"
            "        super().on_before_optimizer_step(trainer, pl_module, optimizer)": (
                "        super().on_before_optimizer_step(trainer, pl_module, optimizer)\n"
                "        if like_automatic(pl_module):\n            self._note_gradients(trainer, pl_module)"
            )
        },
        seen="The gradient that decides on growth is read after pruned entries were set to 0: all candidates tie.",
        effect="RigL grows the first weights of every tensor and is no better than random growth.",
        rule=None,
        killed_by=(f"{DYNAMIC}::test_rigl_grows_where_the_dense_gradient_of_that_step_is_largest",),
    ),
    Mutant(
        name="rigl_grows_by_signed_gradients",
        file="sparsebench/growth.py",
        edits={"_drop_and_grow(weight, grad.abs(), mask, fraction)": "_drop_and_grow(weight, grad, mask, fraction)"},
        seen="The largest gradients are taken, not the largest absolute ones, which half of the time is the same.",
        effect="Weights that want to grow downwards never come.",
        rule=None,
        killed_by=("tests/test_growth.py::test_rigl_drops_the_smallest_and_grows_where_the_gradient_is_largest",),
    ),
    Mutant(
        name="grown_weights_start_with_stale_momentum",
        file="callbacks/dynamic.py",
        edits={
            "        super().on_before_optimizer_step(trainer, pl_module, optimizer)": "        return",
        },
        seen="Momentum of pruned weights keeps gathering gradients, so a grown weight does not start at rest "
        "(what a grown weight begins with is asked in google-research/rigl#5).",
        effect="The first steps of a grown weight are those of a weight that was never pruned.",
        rule=2,
        killed_by=(f"{DYNAMIC}::test_counts_are_constant_and_grown_weights_start_fresh[rigl-sgd]",),
    ),
    Mutant(
        name="dynamic_count_drifts",
        file="sparsebench/growth.py",
        edits={
            "growth.nan_to_num(0.0).flatten().masked_fill(survivors, -1.0)": "growth.nan_to_num(0.0).flatten()",
        },
        seen="Growth may pick weights that are there already, so fewer come than go (TimDettmers/sparse_learning#22).",
        effect="The network grows sparser with every update, whatever the board says.",
        rule=3,
        killed_by=("tests/test_growth.py::test_the_count_is_constant_whatever_the_numbers",),
    ),
    Mutant(
        name="schedule_never_reaches_the_sparsity",
        file="callbacks/schedules.py",
        edits={
            "[*range(first + self.every, last, self.every), last]": "[*range(first + self.every, last, self.every)]"
        },
        seen="A gradual schedule ends between two updates: the last one, which would reach the target, never comes.",
        effect="A method is compared at a sparsity it does not have.",
        rule=1,
        killed_by=(
            "tests/callbacks/test_schedules.py::test_every_schedule_ends_at_the_sparsity_asked_for_and_never_goes_back",
            "tests/callbacks/test_schedules.py::test_linear_is_a_straight_line_and_cubic_starts_fast",
        ),
    ),
    Mutant(
        name="trained_in_evaluation_mode",
        file="sparsebench/grid/training.py",
        edits={"        module.train()\n": ""},
        seen="An evaluation leaves the network in evaluation mode and the trainer takes it as it finds it "
        "(Lightning since 2.2): batch norm learns no statistics, dropout is off.",
        effect="All trainings after the first are other trainings.",
        rule=None,
        killed_by=("tests/grid/test_rewind_points.py::test_batch_norm_learns_in_every_training[magnitude@finetune]",),
    ),
]
