"""Known bugs in measuring networks and in statistics over them."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

QUALITY = "tests/metrics/test_quality.py"
DEAD = "tests/metrics/test_dead_neurons.py"
BIAS = "tests/metrics/test_bias.py"
TABLE = "tests/report/test_table.py"
STATS = "tests/test_stats.py"

MUTANTS = [
    Mutant(
        name="accuracy_averaged_over_batches",
        file="sparsebench/grid/state.py",
        edits={
            "    z, y = logits(net, batches)\n    return float((z.argmax(1) == y).double().mean())": (
                "    parts = [logits(net, [batch]) for batch in batches]\n"
                "    return sum(float((z.argmax(1) == y).double().mean()) for z, y in parts) / len(parts)"
            )
        },
        seen="The accuracy of each batch is averaged; the last batch is shorter.",
        effect="Accuracy depends on the batch size, by up to a point.",
        rule=None,
        killed_by=("tests/grid/test_state.py::test_accuracy_counts_images_not_batches",),
    ),
    Mutant(
        name="test_accuracy_averaged_over_batches",
        file="sparsebench/metrics/quality.py",
        edits={
            '        "top1": int(hit.sum()) / n,': (
                '        "top1": float(torch.stack([part.double().mean() for part in hit.split(128)]).mean()),'
            )
        },
        seen="The same in the number that is published.",
        effect="Images of the last batch count up to 128 times as much.",
        rule=None,
        killed_by=(f"{QUALITY}::test_against_scikit_learn",),
    ),
    Mutant(
        name="accuracy_of_one_rank_only",
        file="sparsebench/grid/state.py",
        edits={"    shares = gather(mine)": "    shares = [mine]"},
        seen="Evaluation is shared among processes and rank 0 reports its part.",
        effect="Accuracy is that of half of the images.",
        rule=8,
        killed_by=("tests/grid/test_state.py::test_ranks_share_the_images_and_know_all_logits",),
    ),
    Mutant(
        name="calibration_error_with_other_bins",
        file="sparsebench/metrics/quality.py",
        edits={"CALIBRATION_BINS = 15": "CALIBRATION_BINS = 10"},
        seen="Libraries have other defaults for the number of bins and the norm.",
        effect="Calibration errors of two papers are compared that are two measures.",
        rule=None,
        killed_by=(f"{QUALITY}::test_calibration_depends_on_the_number_of_bins",),
    ),
    Mutant(
        name="nan_logits_are_class_zero",
        file="sparsebench/metrics/quality.py",
        edits={"torch.where(valid, logits.argmax(1), classes)": "logits.argmax(1)"},
        seen="The largest of NaNs is the first: a network that diverged predicts class 0 and is right on its images.",
        effect="A broken network has the accuracy of chance, and its class 0 is perfect.",
        rule=9,
        killed_by=(f"{QUALITY}::test_samples_without_finite_logits_are_wrong",),
    ),
    Mutant(
        name="cev_not_centred",
        file="sparsebench/metrics/bias.py",
        edits={"((change - change.mean(1, keepdims=True)) ** 2)": "(change**2)"},
        seen="The mean change over classes is not taken off before squaring.",
        effect="A uniform loss of accuracy is reported as unfairness.",
        rule=None,
        killed_by=(f"{BIAS}::test_uniform_degradation_is_no_bias", f"{BIAS}::test_against_the_loop"),
    ),
    Mutant(
        name="sde_with_signs_that_cancel",
        file="sparsebench/metrics/bias.py",
        edits={"np.abs(change[0] - change[1]).mean()": "(change[0] - change[1]).mean()"},
        seen="The sign of the difference is kept; classes that gain and classes that pay cancel.",
        effect="A very unequal network has a symmetric distance error near 0, or below.",
        rule=None,
        killed_by=(f"{BIAS}::test_one_class_pays_by_hand",),
    ),
    Mutant(
        name="static_units_alive_through_their_bias",
        file="sparsebench/metrics/static_units.py",
        edits={
            "        (x, weight, _), args, kwargs": "        (x, weight, bias), args, kwargs",
            "            units = kept.flatten(1).amax(1)": (
                "            units = kept.flatten(1).amax(1) if bias is None else torch.ones_like(bias)"
            ),
        },
        seen="A unit without any incoming weight but with a bias is counted as alive, since its output is not 0.",
        effect="Static dead neurons are missed wherever layers have biases.",
        rule=None,
        killed_by=(f"{DEAD}::test_static_units_are_not_dynamic_and_may_be_positive_constants",),
    ),
    Mutant(
        name="silent_on_one_image_is_dead",
        file="sparsebench/metrics/dead_neurons.py",
        edits={'"permanent": (~static & (site.alive == 0)).sum(),': '"permanent": (~static & (zeros > 0)).sum(),'},
        seen="A unit is called dead when it was 0 on some image (or batch), not on all.",
        effect="Networks seem to die: every sparse activation is a dead neuron.",
        rule=None,
        killed_by=(f"{DEAD}::test_two_units_by_eye",),
    ),
    Mutant(
        name="dead_rate_averaged_over_batches",
        file="sparsebench/metrics/relu_counts.py",
        edits={
            "        site.alive += self._nonzero(units)\n        site.outputs += units.shape[0]": (
                "        site.alive += self._nonzero(units) * 64 // units.shape[0]\n        site.outputs += 64"
            )
        },
        seen="Rates of batches are averaged although the last batch is shorter.",
        effect="Dead-neuron rates depend on the batch size.",
        rule=None,
        killed_by=(f"{DEAD}::test_against_a_loop_over_hooks",),
    ),
    Mutant(
        name="masked_weights_counted_as_work",
        file="sparsebench/metrics/flops.py",
        edits={"positions * int(torch.count_nonzero(weight))": "positions * weight.numel()"},
        seen="A FLOP counter looks at shapes; masks are not in them.",
        effect="The speed-up of every masked network is 1.",
        rule=None,
        killed_by=("tests/metrics/test_flops.py::test_sparse_is_positions_times_kept_weights_and_attention_is_fixed",),
    ),
    Mutant(
        name="shrunk_network_keeps_statistics_of_removed_filters",
        file="sparsebench/structured/shrink.py",
        edits={
            "            _set(changes, module._buffers, leaf, tensor)": (
                "            _set(changes, module._buffers, leaf, tensors[name].detach()[: len(tensor)].clone())"
                " if tensor.dim() else None"
            )
        },
        seen="Filters are cut out and batch norm's running statistics are cut at the end, not at the filters' places.",
        effect="The small network computes something else; fine-tuning hides it.",
        rule=None,
        killed_by=(
            "tests/structured/test_shrink.py::test_masked_and_shrunk_networks_give_the_same_outputs[resnet8-0.42]",
        ),
    ),
    Mutant(
        name="collapsed_seeds_left_out_of_the_mean",
        file="sparsebench/report/table.py",
        edits={
            "counts.join(grouped[AVERAGED].mean())": (
                'counts.join(counted[~counted["collapsed"]].groupby(ROW, sort=False)[AVERAGED].mean())'
            )
        },
        seen="Runs at chance are taken for accidents and repeated or dropped.",
        effect="The least stable method has the best mean.",
        rule=9,
        killed_by=(f"{TABLE}::test_collapsed_cells_stay_in_the_mean",),
    ),
    Mutant(
        name="deviation_of_the_population",
        file="sparsebench/stats/intervals.py",
        edits={"squares) / (n - 1))": "squares) / n)", "np.std(values, ddof=1)": "np.std(values)"},
        seen="numpy divides by n: with three seeds the interval is 18 % too narrow.",
        effect="Differences within seed noise are called significant.",
        rule=None,
        killed_by=(f"{STATS}::test_mean_interval_is_scipys",),
    ),
    Mutant(
        name="normal_quantile_for_three_seeds",
        file="sparsebench/stats/intervals.py",
        edits={"t_quantile((1 + level) / 2, n - 1) * deviation": "1.959964 * deviation"},
        seen="1.96 standard errors are drawn around the mean of three seeds, where 4.30 make 95 %.",
        effect="The interval holds the truth in 81 % of cases, not 95 %.",
        rule=None,
        killed_by=(f"{STATS}::test_mean_interval_is_scipys",),
    ),
]
