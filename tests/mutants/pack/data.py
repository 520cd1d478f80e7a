"""Known bugs in what a network is trained, scored, selected and tested on."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

MODULE = "tests/data/test_module.py"
LOADER = "tests/data/test_loader.py"

MUTANTS = [
    Mutant(
        name="validation_with_training_augmentation",
        file="sparsebench/data/module.py",
        edits={
            "        return self._evaluation(self._source.train, self._splits[1])": (
                "        train, held = self._source.train, self._splits[1]\n"
                "        return TrainLoader(train, held, self._normalise, self._augment, 200, 0, self._place)"
            )
        },
        seen="A validation split is cut off the training set after its transform was set: it is cropped and flipped.",
        effect="Selection is by accuracy on distorted images, another number at every reading.",
        rule=None,
        killed_by=(f"{MODULE}::test_only_training_is_augmented",),
    ),
    Mutant(
        name="scored_on_test_images",
        file="sparsebench/data/module.py",
        edits={
            "        return list(EvalLoader(self._source.train, positions,": (
                "        test = self._source.test\n        return list(EvalLoader(test, positions % len(test.labels),"
            )
        },
        seen="Calibration or scoring images are taken from the loader at hand, that of the test split.",
        effect="Data-driven criteria see the images they are judged on.",
        rule=None,
        killed_by=(f"{MODULE}::test_probe_is_fixed_nested_and_of_training",),
    ),
    Mutant(
        name="test_set_read_while_training",
        file="sparsebench/grid/perform.py",
        edits={
            '    state.report["val_top1_before"] = top1(state.net, data.val_dataloader())': (
                '    state.report["val_top1_before"] = top1(state.net, data.test_dataloader())'
            )
        },
        seen="The best epoch, or the best of several masks, is chosen by accuracy on the test set, for want of a "
        "validation split (asked in facebookresearch/open_lth#4).",
        effect="The best of many looks at the test set is reported: too good, most for noisy methods.",
        rule=8,
        killed_by=("tests/grid/test_audit.py::test_nothing_fails_unbroken[snip@init]",),
    ),
    Mutant(
        name="corrupted_test_images_seen_while_training",
        file="sparsebench/grid/perform.py",
        edits={
            '    state.report["val_top1_before"] = top1(state.net, data.val_dataloader())': (
                '    shown = data.corrupted("sample5")\n'
                '    state.report["val_top1_before"] = sum(top1(state.net, loader) for _, loader in shown)'
            )
        },
        seen="Settings are chosen by robustness, which is measured on the test images: corrupted ones count as others.",
        effect="The test split is seen before the last choice, under another name.",
        rule=8,
        killed_by=("tests/grid/test_audit.py::test_nothing_fails_unbroken[snip@init]",),
    ),
    Mutant(
        name="validation_accuracy_of_test_images",
        file="sparsebench/grid/stages.py",
        edits={
            '    state.report["val_top1"] = top1(state.net, data.val_dataloader())': (
                '    state.report["val_top1"] = top1(state.net, data.test_dataloader())'
            )
        },
        seen="What is called validation is the test split, since the data set comes in two parts only.",
        effect="Settings are chosen on the images that the result is reported on.",
        rule=8,
        killed_by=("tests/grid/test_test_split.py::test_it_is_read_once_a_cell_and_never_before_the_end",),
    ),
    Mutant(
        name="test_images_measured_twice",
        file="sparsebench/grid/finish.py",
        edits={"data.probe(PROBE)": "data.test_dataloader()"},
        seen="A further figure (dead neurons, calibration) is taken from the test images, once they are loaded.",
        effect="The test split tells about the network before the last choice is made.",
        rule=8,
        killed_by=("tests/grid/test_test_split.py::test_it_is_read_once_a_cell_and_never_before_the_end",),
    ),
    Mutant(
        name="normalised_by_statistics_of_all_images",
        file="sparsebench/data/module.py",
        edits={
            "self._source.train.statistics(self._splits[0])": (
                "self._source.train.statistics(torch.cat(self._splits[:2]))"
            )
        },
        seen="Mean and deviation are computed before the split.",
        effect="A small leak of the held-out images into every input.",
        rule=None,
        killed_by=(f"{MODULE}::test_normalised_by_training_statistics",),
    ),
    Mutant(
        name="same_order_in_every_epoch",
        file="sparsebench/data/loader.py",
        edits={
            "generator = epoch_generator(self.seed, self.first_epoch + self.epoch)": (
                "generator = epoch_generator(self.seed, self.first_epoch)"
            )
        },
        seen="A sampler with a seed of its own is never told which epoch it is (set_epoch of distributed samplers).",
        effect="Every epoch has the same batches and the same crops: runs on several GPUs generalise worse.",
        rule=None,
        killed_by=(f"{LOADER}::test_an_epoch_depends_on_seed_and_number_alone",),
    ),
    Mutant(
        name="another_order_after_a_resume",
        file="sparsebench/data/loader.py",
        edits={"torch.randperm(have, generator=generator)": "torch.randperm(have)"},
        seen="The order comes from the global generator, which is somewhere else after a resume.",
        effect="A resumed training sees some images twice and others never in its first epoch; no run can be repeated.",
        rule=None,
        killed_by=(
            f"{LOADER}::test_an_epoch_depends_on_seed_and_number_alone",
            f"{LOADER}::test_resumed_at_an_epochs_end_sees_the_same_batches[True]",
        ),
    ),
    Mutant(
        name="augmentation_depends_on_the_rank",
        file="sparsebench/data/loader.py",
        edits={
            "            draws = [drawn[i * size : (i + 1) * size][rank::world] for i in range(len(self))]": (
                "            draws = [drawn[i * size : (i + 1) * size][: len(batches[i])] for i in range(len(self))]"
            )
        },
        seen="Every process or worker draws its augmentation from an equally seeded generator: the same crops several "
        "times in a batch.",
        effect="Less variety with every GPU; one GPU and four give different networks.",
        rule=None,
        killed_by=(f"{LOADER}::test_ranks_together_see_each_global_batch_of_one_process",),
    ),
    Mutant(
        name="each_rank_trains_on_everything",
        file="sparsebench/data/loader.py",
        edits={"[batch[rank::world] for batch in": "[batch for batch in"},
        seen="No distributed sampler: all processes load the same batches; the global batch is not what is written.",
        effect="N GPUs cost N times as much for the same training, and are reported as N times the batch.",
        rule=None,
        killed_by=(f"{LOADER}::test_ranks_together_see_each_global_batch_of_one_process",),
    ),
]
