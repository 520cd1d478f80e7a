"""Known bugs in how many weights are kept, and of which tensors."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

ALLOCATION = "tests/test_allocation.py"
SELECTION = "tests/test_selection.py"
SCOPE = "tests/test_scope.py"
PRUNER = "tests/callbacks/test_pruner.py"
WHAT_MAY_BE_PRUNED = f"{SCOPE}::test_weights_of_layers_and_projections_are_prunable"
REASONS = f"{SCOPE}::test_every_other_parameter_has_its_reason"

MUTANTS = [
    Mutant(
        name="threshold_instead_of_count",
        file="sparsebench/selection.py",
        edits={"    keep[ties[: k - int(keep.sum())]] = True": "    keep[ties] = True"},
        seen="Everything at or above the k-th score is kept; equal scores, zeros above all, make it more than k "
        "(neuralmagic/sparseml#678).",
        effect="Methods whose scores tie keep more weights than others at the same nominal sparsity.",
        rule=1,
        killed_by=(f"{SELECTION}::test_ties_are_cut_at_the_exact_count_in_order",),
    ),
    Mutant(
        name="pruned_weights_compete_again",
        file="sparsebench/selection.py",
        edits={"n: s if masks is None else s.masked_fill(~masks[n].to(s.device), -torch.inf) for": "n: s for"},
        seen="Each round ranks all weights, also those pruned before: what scores by chance or gradient comes back.",
        effect="Iterative masks are not nested: 'pruned' weights train in between.",
        rule=3,
        killed_by=(f"{SELECTION}::test_iterated_masks_are_nested_whatever_the_scores_do",),
    ),
    Mutant(
        name="sparsity_of_what_is_left",
        file="sparsebench/selection.py",
        edits={
            "    target = kept_count(density, total)\n    if target > sum": (
                "    target = kept_count(density, masks.kept if masks else total)\n    if target > sum"
            )
        },
        seen="In iterative pruning the amount is taken as a share of the weights still there, as "
        "torch.nn.utils.prune does with repeated calls.",
        effect="After three rounds of 50 % it is 87.5 % that are gone, under the heading 50 %.",
        rule=1,
        killed_by=(f"{SELECTION}::test_iterated_masks_are_nested_whatever_the_scores_do[global]",),
    ),
    Mutant(
        name="counts_cut_instead_of_rounded",
        file="sparsebench/allocation.py",
        edits={"    return round(round(density, 12) * total)": "    return int(density * total)"},
        seen="int() here, round() there, and 1 - 0.9 is less than 0.1 (neuralmagic/sparseml#589).",
        effect="One weight less than asked for, and a weight that is pruned and revived in turn.",
        rule=1,
        killed_by=(f"{ALLOCATION}::test_counts_come_from_the_decimal_that_was_written",),
    ),
    Mutant(
        name="erk_clamped_without_redistribution",
        file="sparsebench/allocation.py",
        edits={
            "        if not saturated:\n            return {n: 1.0 if n in dense else eps * sum(s) / prod(s)": (
                "        if True:\n            return {n: min(1.0, eps * sum(s) / prod(s))"
            )
        },
        seen="Layers whose ERK density exceeds 1 are cut to 1, and what they cannot take is lost.",
        effect="The network is sparser than asked for, most at low sparsities.",
        rule=1,
        killed_by=(f"{ALLOCATION}::test_erk_against_a_root_finder_and_a_single_clamp_would_undershoot",),
    ),
    Mutant(
        name="layers_rounded_one_by_one",
        file="sparsebench/allocation.py",
        edits={"    while (missing := target - sum(counts.values())) > 0:": "    while False:"},
        seen="Each layer's count is rounded by itself (neuralmagic/sparseml#2159 made them exact).",
        effect="The total misses the target by up to one weight a layer.",
        rule=1,
        killed_by=(f"{ALLOCATION}::test_counts_sum_exactly_and_stay_within_one_of_the_rule[uniform-0.2]",),
    ),
    Mutant(
        name="n_of_m_along_kernel_positions",
        file="sparsebench/patterns.py",
        edits={
            "    return (tensor.movedim(1, -1) if tensor.dim() > 1 else tensor).reshape(tensor.shape[0], -1)": (
                "    return tensor.reshape(tensor.shape[0], -1)"
            ),
            "    return table.reshape(shape[0], *shape[2:], shape[1]).movedim(-1, 1).contiguous()": (
                "    return table.reshape(shape)"
            ),
        },
        seen="A convolution's weight is flattened as it lies in memory: groups of 4 run over kernel positions, not "
        "over input channels.",
        effect="The mask is 2:4 on paper; no sparse tensor core can use it.",
        rule=1,
        killed_by=(
            "tests/test_patterns.py::test_n_of_m_keeps_the_best_of_every_group",
            "tests/test_patterns.py::test_the_matrix_has_input_channels_innermost_and_comes_back",
        ),
    ),
    Mutant(
        name="biases_pruned",
        file="sparsebench/scope.py",
        edits={
            '    if "bias" in leaf:\n        return "bias"\n': "",
            '(nn.Linear, *_CONVOLUTIONS): ("weight",),': '(nn.Linear, *_CONVOLUTIONS): ("weight", "bias"),',
        },
        seen="Every parameter of a layer is pruned, so biases, small and many at zero, go first.",
        effect="Sparsity is reached with parameters that cost nothing.",
        rule=11,
        killed_by=(WHAT_MAY_BE_PRUNED,),
    ),
    Mutant(
        name="batch_norm_pruned",
        file="sparsebench/scope.py",
        edits={
            "    (nn.Bilinear,): (": "    (_NormBase,): ('weight',),\n    (nn.Bilinear,): (",
        },
        seen="Everything called 'weight' is pruned, the scales of batch norms too.",
        effect="A pruned scale removes a whole channel and counts as one weight.",
        rule=11,
        killed_by=("tests/contract/test_models.py::test_only_matrices_and_kernels_are_prunable[resnet8]",),
    ),
    Mutant(
        name="layer_norm_not_excluded",
        file="sparsebench/scope.py",
        edits={"    (nn.Bilinear,): (": "    (nn.LayerNorm, nn.GroupNorm): ('weight',),\n    (nn.Bilinear,): ("},
        seen="The list of excluded norms was written for convolutional networks.",
        effect="On transformers the scales of layer norms are pruned, equal at initialisation, so all or none.",
        rule=11,
        killed_by=(
            REASONS,
            f"{SCOPE}::test_a_vision_transformer_keeps_tokens_and_positions",
        ),
    ),
    Mutant(
        name="class_token_and_positions_pruned",
        file="sparsebench/scope.py",
        edits={
            '    return f"not a weight of a convolution, linear or attention layer ({kind})"': "    return None",
        },
        seen="All parameters with two or more dimensions are taken for weights.",
        effect="Tokens and positions, large and few, change the layer counts and are pruned like weights.",
        rule=11,
        killed_by=(f"{SCOPE}::test_a_vision_transformer_keeps_tokens_and_positions",),
    ),
    Mutant(
        name="tied_embedding_pruned",
        file="sparsebench/scope.py",
        edits={
            "    embeddings = {id(m.weight) for m in model.modules() if isinstance(m, _EMBEDDINGS)}": (
                "    embeddings = set()"
            )
        },
        seen="The output layer of a language model is a linear layer and, tied, the embedding too.",
        effect="Rare tokens lose their embedding.",
        rule=11,
        killed_by=(f"{SCOPE}::test_a_decoder_that_comes_first_is_still_tied_to_the_embedding",),
    ),
    Mutant(
        name="attention_projections_missed",
        file="sparsebench/scope.py",
        edits={'("in_proj_weight", "q_proj_weight",': '("q_proj_weight",'},
        seen="Layers are found by their type, Linear or Conv; MultiheadAttention keeps query, key and value in a "
        "parameter of its own.",
        effect="Three of four attention weights stay dense; the others are pruned more to make up.",
        rule=11,
        killed_by=(
            WHAT_MAY_BE_PRUNED,
            "tests/callbacks/test_pruner.py::test_attention_projections_are_pruned_and_tokens_are_not",
        ),
    ),
    Mutant(
        name="sparsity_over_all_parameters",
        file="sparsebench/grid/finish.py",
        edits={
            "    prunable = sum(weight.numel() for weight in before.values())": (
                "    prunable = sum(weight.numel() for weight in whole.parameters())"
            )
        },
        seen="Some count the pruned share of weights, some that of all parameters, without saying which.",
        effect="Equal networks are reported at different sparsities.",
        rule=None,
        killed_by=("tests/grid/test_finish.py::test_sparsity_is_that_of_the_prunable_weights",),
    ),
]
