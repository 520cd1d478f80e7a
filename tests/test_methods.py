"""Methods: one string, one meaning; nonsense is refused with its reason."""

from __future__ import annotations

import pytest

from sparsebench.criteria import is_structured
from sparsebench.errors import UsageError
from sparsebench.methods import from_file, parse
from sparsebench.phases import (
    Dynamic,
    Gradual,
    Narrow,
    Prune,
    Recalibrate,
    Reinit,
    Rewind,
    Scorer,
    Shuffle,
    Train,
    describe,
    ladder,
)
from sparsebench.registry import criterion, regime

MAGNITUDE = Scorer("magnitude")


def test_each_regime_by_its_phases():
    assert parse("dense").phases(0.0) == [Train()]
    assert parse("snip").phases(0.9) == [Prune(0.9, Scorer("snip")), Train()]
    assert parse("magnitude/erk@init").phases(0.9)[0] == Prune(0.9, Scorer("magnitude", "erk"))
    assert parse("magnitude").phases(0.9) == [Train(), Prune(0.9, MAGNITUDE), Train(epochs=0.25, rate=0.1)]
    imp = [Train(), Prune(0.5, MAGNITUDE), Rewind(0.1), Train(), Prune(0.6, MAGNITUDE), Rewind(0.1), Train()]
    assert parse("magnitude@imp(rate=0.5, rewind=0.1)").phases(0.6) == imp
    lrr = [Train(), Prune(0.5, MAGNITUDE), Train(), Prune(0.6, MAGNITUDE), Train()]
    assert parse("magnitude@lrr(rate=0.5)").phases(0.6) == lrr
    assert parse("magnitude@gmp(begin=0.2)").phases(0.9) == [Train(pruner=Gradual(MAGNITUDE, 0.9, 0.2, 0.75, None))]
    assert parse("rigl").phases(0.9) == [Train(pruner=Dynamic("rigl", 0.9, "erk", None, 0.3, 0.75))]
    assert parse("set(zeta=0.2)").phases(0.9) == [Train(pruner=Dynamic("set", 0.9, "erk", None, 0.2, 1.0))]


def test_one_shot_and_the_narrow_control():
    assert parse("magnitude@oneshot").phases(0.9) == [Train(), Prune(0.9, MAGNITUDE), Recalibrate(1024)]
    assert parse("small_dense(match='flops')").phases(0.9) == [Narrow(0.9, "flops"), Train()]


def test_inversion_reaches_every_score():
    assert parse("snip+invert").phases(0.9)[0] == Prune(0.9, Scorer("snip", invert=True))
    pruned = [p for p in parse("magnitude@lrr(rate=0.5)+invert").phases(0.75) if isinstance(p, Prune)]
    assert len(pruned) == 2
    assert all(p.scorer.invert for p in pruned)
    assert parse("magnitude@gmp+invert").phases(0.9)[0].pruner.scorer.invert


def test_n_of_m_has_one_sparsity_and_goes_there_at_once():
    method = parse("magnitude/2:4@lrr(rate=0.5)")
    assert method.fixed_sparsity == 0.5
    assert method.applies_at(0.5)
    assert not method.applies_at(0.9)
    assert parse("magnitude").fixed_sparsity is None


def test_names_of_cells_do_not_know_fields_that_came_later():
    plain = describe(Prune(0.9, MAGNITUDE))["scorer"]
    assert set(plain) == {"criterion", "allocation", "arguments", "source"}
    assert describe(parse("snip+invert").phases(0.9)[0])["scorer"]["invert"]


def test_controls_act_on_the_last_masks():
    shuffled = parse("magnitude@imp(rate=0.5)+shuffle").phases(0.6)
    assert shuffled[-4:] == [Prune(0.6, MAGNITUDE), Shuffle(), Rewind(), Train()]
    assert sum(isinstance(p, Shuffle) for p in shuffled) == 1
    assert parse("magnitude@finetune+reinit").phases(0.6)[1:] == [Prune(0.6, MAGNITUDE), Reinit(), Train()]
    both = [parse(f"snip@init+{a}+{b}").phases(0.6) for a, b in (("shuffle", "reinit"), ("reinit", "shuffle"))]
    assert both[0] == both[1] == [Prune(0.6, Scorer("snip")), Shuffle(), Reinit(), Train()]


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("snip", "snip@init"),
        ("magnitude", "magnitude@finetune"),
        (" magnitude / global @ imp( rewind = .1 ,rate=0.5 ) + shuffle ", "magnitude@imp(rewind=0.1,rate=0.5)+shuffle"),
        ("grasp(temperature=1.0)/erk@init", "grasp(temperature=1.0)/erk@init"),
        ('rigl(allocation="uniform")', "rigl(allocation='uniform')"),
        ("dense", "dense"),
        ("random/uniform+", "random/uniform+@init"),
        ("random/uniform+@imp+shuffle", "random/uniform+@imp+shuffle"),
        ("random/uniform++shuffle", "random/uniform+@init+shuffle"),
        ("random/uniform+shuffle", "random/uniform@init+shuffle"),
        ("magnitude/2:4", "magnitude/2:4@finetune"),
        ("magnitude/uniform/block4x4@gmp", "magnitude/uniform/block4x4@gmp"),
        ("random/like:snip", "random/like:snip@init"),
    ],
)
def test_canonical_names_are_fixed_points(written, canonical):
    method = parse(written)
    assert method.name == canonical
    again = parse(canonical)
    assert again == method


def combinations():
    for c in criterion.names():
        for r in regime.names():
            yield f"{c}@{r}"


@pytest.mark.parametrize("text", list(combinations()))
def test_every_criterion_under_every_regime_works_or_says_why_not(text):
    name, how = text.split("@")
    entry, own_rule = criterion.entry(name), regime.entry(how).traits.get("criterion") == "none"
    in_rounds = entry.traits.get("rounds", 1) > 1 and regime.entry(how).traits.get("single_round")
    units_while_training = is_structured(name) and how in ("gmp", "ramp")
    if own_rule or in_rounds or units_while_training:
        with pytest.raises(UsageError, match=r"rule of its own|rounds of its own|between trainings"):
            parse(text)
    else:
        assert parse(text).name == text
        assert isinstance(parse(text).phases(0.9)[-1], Recalibrate if how == "oneshot" else Train)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("magnitud@imp", "unknown method 'magnitud': did you mean 'magnitude'"),
        ("magnitude@impp", "unknown regime 'impp': did you mean 'imp'"),
        ("magnitude/erq@imp", "unknown allocation 'erq': did you mean 'erk'"),
        ("magnitude@imp+shufle", "unknown modifier 'shufle': did you mean 'shuffle'"),
        ("magnitude@rigl", "rigl has a rule of its own and takes no criterion; write 'rigl'"),
        ("magnitude@dense", "takes no criterion"),
        ("imp", "imp needs a criterion, such as 'magnitude@imp'"),
        ("imp@magnitude", "imp is a regime, not a criterion: write it behind one, such as 'magnitude@imp'"),
        ("rigl/uniform", r"rigl\(allocation='uniform'\)"),
        ("set@init", "set is a regime, not a criterion: it has a rule of its own and stands alone"),
        ("lamp/uniform@imp", "so this would be magnitude/uniform; write that"),
        ("synflow@gmp", "100 rounds of its own.*use synflow@init"),
        ("dense+shuffle", "no pruning step.*nothing to shuffle"),
        ("magnitude@gmp+reinit", "no pruning step.*nothing to reinit"),
        ("snip@init+shuffle+shuffle", "a modifier is written twice"),
        ("magnitude@imp(rate=0)", "share of weights removed each round"),
        ("magnitude@imp(rate=1.5)", r"rate=1\.5 is a fraction"),
        ("magnitude@imp(rewind=1.0)", "end of training"),
        ("magnitude@imp(rewind='late')", "rewind='late' is not a number"),
        ("magnitude@finetune(epochs=0)", "epochs=0 .*must be positive"),
        ("magnitude@gmp(begin=0.8)", "begin must lie before end"),
        ("magnitude@gmp(every=0)", "every=0 counts optimiser steps"),
        ("rigl(every=2.5)", r"every=2\.5 counts optimiser steps"),
        ("rigl(allocation='erq')", "unknown allocation 'erq'"),
        ("rigl(allocation=3)", "unknown allocation '3'"),
        ("rigl(zeta=0.3)", r"regime 'rigl' has no argument 'zeta' \(its arguments: alpha, end, every, allocation\)"),
        ("snip(temperature=3)", "criterion 'snip' has no argument 'temperature'"),
        ("magnitude@imp(0.5)", "arguments are written name=value, not '0.5'"),
        ("magnitude@imp(**{'rate': 0.5})", "arguments are written name=value"),
        ("magnitude@imp(rate=rate)", "arguments are written name=value"),
        ("magnitude@imp@lrr", "not of the form"),
        ("magnitude@", "not of the form"),
        ("", "not of the form"),
        ("magnitude/erk/igq@imp", "'igq' is no pattern"),
        ("magnitude/2:4@imp", r"2:4 has sparsity 0\.5 and no other.*would prune to 0\.2.*lrr\(rate=0\.5\)"),
        ("magnitude/2:4@gmp", "would prune gradually"),
        ("rigl+invert", "no score to invert"),
        ("rigl(allocation='2:4')", "makes no sense where weights move"),
        ("rigl(allocation='row')", "makes no sense where weights move"),
        ("magnitude@lrr+shuffle", "weights pruned in earlier rounds are gone.*use a regime that rewinds"),
        ("magnitude/2:4@finetune+shuffle", "shuffled masks have no pattern"),
        ("synflow/like:snip", "prunes in rounds"),
        ("magnitude@oneshot(recalibrate=0)", "recalibrate=0 counts training images"),
        ("woodfisher(block='x')", "block='x' is not a number"),
        ("random/like:random", "layer counts of another criterion"),
        ("random/like:magnitud", "unknown criterion 'magnitud'"),
        ("small_dense(match='size')", "match='size' is not 'params' or 'flops'"),
        ("random_search(samples=0)", "samples=0 of random_search must be at least 1"),
        ("random_search(objective='best')", "objective='best' of random_search is not one of 'init_loss'"),
        ("woodfisher(block=0)", "block=0 of woodfisher must be at least 1"),
        ("chita(stages=0)", "stages=0 of chita must be at least 1"),
    ],
)
def test_nonsense_is_refused_with_its_reason(text, reason):
    with pytest.raises(UsageError, match=reason):
        parse(text)


def test_defaults_of_a_board_fill_what_the_string_leaves_open():
    defaults = {"imp": {"rate": 0.5}, "lrr": {"rate": 0.4}}
    assert parse("magnitude@imp", defaults).regime_arguments == {"rate": 0.5, "rewind": 0.0}
    assert parse("magnitude@imp(rate=0.3)", defaults).regime_arguments["rate"] == 0.3
    assert parse("magnitude@imp", defaults).name == "magnitude@imp"


def test_ladders_to_different_ends_share_their_rungs():
    short, long = ladder(0.9, 0.5), ladder(0.98, 0.5)
    assert short == [0.5, 0.75, 0.875, 0.9]
    assert long[:3] == short[:3]
    assert long[-1] == 0.98
    assert ladder(0.75, 0.5) == [0.5, 0.75]
    assert ladder(0.1, 0.5) == [0.1]


def test_the_fingerprint_says_what_papers_leave_out():
    said = parse("grasp").fingerprint()
    assert (said["scoring_mode"], said["scoring_examples"], said["scoring_rounds"]) == ("train", "10 a class", 1)
    assert parse("synflow").fingerprint()["scoring_rounds"] == 100
    assert parse("rigl").fingerprint()["allocation"] == "erk"


FILE = """
from sparsebench import criterion

@criterion(needs="weight", regime="init")
def {name}(weight):
    return weight.abs()
"""


def test_a_users_file_gives_methods(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(FILE.format(name="my_own_score"))
    assert from_file(str(path)) == ["my_own_score"]
    method = parse("my_own_score")
    assert method.name == "my_own_score@init"
    assert method.scorer.source == criterion.entry("my_own_score").source_digest()
    (tmp_path / "more.py").write_text(FILE.format(name="another_score") + "\nMETHODS = ['another_score@imp']\n")
    assert from_file(str(tmp_path / "more.py")) == ["another_score@imp"]
    assert from_file(str(tmp_path / "more.py"), "another_score@lrr") == ["another_score@lrr"]


def test_a_users_file_without_a_method_or_with_an_error_is_named(tmp_path):
    (tmp_path / "empty.py").write_text("x = 1\n")
    with pytest.raises(UsageError, match=r"empty\.py defines no criterion"):
        from_file(str(tmp_path / "empty.py"))
    (tmp_path / "bad.py").write_text(FILE.format(name="bad_score") + "\n1 / 0\n")
    with pytest.raises(UsageError, match=r"bad\.py, line 8: ZeroDivisionError"):
        from_file(str(tmp_path / "bad.py"))
