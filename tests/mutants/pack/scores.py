"""Known bugs in scoring weights."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

SCORING = "tests/test_scoring.py"
FIRST_ORDER = "tests/criteria/test_first_order.py"
CONTRACT = "tests/contract/test_criteria.py"

MUTANTS = [
    Mutant(
        name="absolute_gradients_averaged_over_batches",
        file="sparsebench/scoring.py",
        edits={
            "lambda batch: gradients(loss(model, batch), params)": (
                "lambda batch: [g.abs() for g in gradients(loss(model, batch), params)]"
            )
        },
        seen="The absolute value is taken of every batch's gradient and these are summed: noise no longer cancels.",
        effect="SNIP's masks depend on the batch size; published ones come out at one batch only.",
        rule=None,
        killed_by=(f"{SCORING}::test_batches_of_unequal_length_are_one_big_batch[snip]",),
    ),
    Mutant(
        name="absolute_gradients_summed_over_ranks",
        file="sparsebench/scoring.py",
        edits={"            dist.all_reduce(tensor)": "            dist.all_reduce(tensor.abs_())"},
        seen="Each process scores by itself and the scores, absolute already, are added up.",
        effect="Two GPUs prune another network than one.",
        rule=None,
        killed_by=("tests/test_scoring_on_ranks.py::test_ranks_score_as_one_process_does",),
    ),
    Mutant(
        name="ranks_score_on_their_own_share",
        file="sparsebench/scoring.py",
        edits={"            dist.all_reduce(tensor)": "            pass"},
        seen="Scores come from rank 0's share of the data, since nothing says that the gradient must be reduced "
        "(neuralmagic/sparseml#1302: gradients collected in all processes).",
        effect="The number of scoring images depends on the number of GPUs.",
        rule=None,
        killed_by=("tests/test_scoring_on_ranks.py::test_ranks_score_as_one_process_does",),
    ),
    Mutant(
        name="short_batches_weigh_as_much_as_full_ones",
        file="sparsebench/scoring.py",
        edits={"        n = length(batch)": "        n = 1"},
        seen="A mean of batch means where the last batch is shorter.",
        effect="Images of the last batch count several times.",
        rule=None,
        killed_by=(f"{SCORING}::test_batches_of_unequal_length_are_one_big_batch[gradient]",),
    ),
    Mutant(
        name="scoring_moves_batch_norm_statistics",
        file="sparsebench/scoring.py",
        edits={"                    buffer.copy_(buffers[name])": "                    pass"},
        seen="Gradients for scores are taken in training mode, so running statistics drift "
        "(neuralmagic/sparseml#756: accuracy from 55 to 18 %).",
        effect="Methods that look at data start from another network than those that do not.",
        rule=7,
        killed_by=(f"{SCORING}::test_scoring_leaves_everything_as_it_was[snip-False]",),
    ),
    Mutant(
        name="scoring_moves_the_random_state",
        file="sparsebench/scoring.py",
        edits={"    with torch.random.fork_rng(devices=[d.index for d in devices]):": "    if True:"},
        seen="Scoring draws random numbers from the generator that dropout and order use later.",
        effect="Seeds are no longer paired: a method differs from another by luck.",
        rule=7,
        killed_by=(f"{SCORING}::test_scoring_leaves_everything_as_it_was[magnitude-False]",),
    ),
    Mutant(
        name="scored_in_the_mode_the_network_is_in",
        file="sparsebench/scoring.py",
        edits={"        model.train(train)\n": ""},
        seen="Nobody sets the mode, so scores depend on what ran before (neuralmagic/sparseml#756).",
        effect="Dropout and batch statistics make scores of a trained network random.",
        rule=None,
        killed_by=(f"{SCORING}::test_the_mode_is_the_criterion_s",),
    ),
    Mutant(
        name="synflow_overflows_in_float32",
        file="sparsebench/criteria/synflow.py",
        edits={
            "dtype=torch.float64),)": "dtype=torch.float32),)",
            "tensor.detach().double().abs()": "tensor.detach().float().abs()",
        },
        seen="The product over all layers of sums of absolute weights leaves the range of single precision.",
        effect="Scores are infinite or NaN; what is kept is decided by the order of the weights.",
        rule=9,
        killed_by=(f"{CONTRACT}::test_synflow_does_not_overflow_in_a_deep_wide_network",),
    ),
    Mutant(
        name="synflow_in_training_mode",
        file="sparsebench/criteria/synflow.py",
        edits={'needs="model", mode="eval"': 'needs="model", mode="train"'},
        seen="Batch norm in training mode normalises the flow of the one input away.",
        effect="Scores of all layers before a batch norm are rounding errors.",
        rule=None,
        killed_by=(f"{FIRST_ORDER}::test_synflow_is_a_difference_quotient_of_the_flow[resnet8]",),
    ),
    Mutant(
        name="synflow_without_absolute_weights",
        file="sparsebench/criteria/synflow.py",
        edits={"tensor.detach().double().abs()": "tensor.detach().double()"},
        seen="The weights are not replaced by their absolute values, or are put back before the backward pass.",
        effect="Paths cancel: layers collapse, which the method exists to prevent.",
        rule=None,
        killed_by=(f"{FIRST_ORDER}::test_synflow_is_a_difference_quotient_of_the_flow[mlp]",),
    ),
    Mutant(
        name="synflow_in_one_round",
        file="sparsebench/criteria/synflow.py",
        edits={"rounds=100,": "rounds=1,"},
        seen="The 100 rounds are left out, since one gives a mask too.",
        effect="Narrow layers are emptied at high sparsity; the method looks worse than it is.",
        rule=9,
        killed_by=(f"{CONTRACT}::test_synflow_never_empties_a_layer_where_snip_does",),
    ),
    Mutant(
        name="grasp_with_the_wrong_sign",
        file="sparsebench/criteria/grasp.py",
        edits={"w.detach() * hg for": "-w.detach() * hg for"},
        seen="Formula and released code differ in sign and in which end is removed; mixing both keeps the wrong end.",
        effect="GraSP lowers the gradient flow it means to keep.",
        rule=None,
        killed_by=(
            f"{CONTRACT}::test_removing_the_lowest_grasp_scores_hurts_the_gradient_flow_least",
            f"{FIRST_ORDER}::test_grasp_is_the_change_of_the_gradient_along_itself[mlp]",
        ),
    ),
    Mutant(
        name="fisher_squares_the_gradient_of_the_batch",
        file="sparsebench/per_example.py",
        edits={"g.square().sum(0)": "g.sum(0).square()"},
        seen="The squared mean gradient is taken for the mean squared gradient: one backward pass instead of many.",
        effect="Second-order scores shrink with the batch size and rank otherwise.",
        rule=None,
        killed_by=("tests/test_per_example.py::test_mean_of_squares_by_eye_and_not_the_square_of_the_mean",),
    ),
    Mutant(
        name="movement_with_the_wrong_sign",
        file="sparsebench/soft.py",
        edits={"    return -weight * grad": "    return weight * grad"},
        seen="The score is the gradient times the weight, or minus that, depending on who writes the step.",
        effect="Weights that training shrinks are kept, those that it grows are removed.",
        rule=None,
        killed_by=("tests/criteria/test_movement.py::test_weights_that_grow_are_kept_and_those_that_shrink_are_not",),
    ),
    Mutant(
        name="wanda_without_the_square_root",
        file="sparsebench/calibration.py",
        edits={"return {name: total.sqrt() for": "return {name: total for"},
        seen="The squared norm of an input is multiplied with the weight, since only the order matters (it does not).",
        effect="Inputs of large norm weigh too much; activations decide alone.",
        rule=None,
        killed_by=("tests/criteria/test_layerwise.py::test_wanda_on_every_kind_of_network[mlp]",),
    ),
    Mutant(
        name="wanda_ranked_over_whole_layers",
        file="sparsebench/criteria/wanda.py",
        edits={'allocation="row"': 'allocation="uniform"'},
        seen="Scores are compared within a layer; the paper compares them within an output.",
        effect="Rows are emptied; the result is another method's.",
        rule=None,
        killed_by=("tests/criteria/test_layerwise.py::test_wanda_keeps_as_many_in_every_row",),
    ),
    Mutant(
        name="nan_scores_rank_first",
        file="sparsebench/functional.py",
        edits={"torch.finfo(s.dtype).min": "torch.finfo(s.dtype).max"},
        seen="Sorting puts NaN at the top, so what cannot be scored is kept.",
        effect="A diverged method keeps its broken weights and is not flagged by what it does.",
        rule=9,
        killed_by=("tests/test_functional.py::test_scores_that_are_not_finite_are_refused_or_noted",),
    ),
]
