import itertools
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import ConfigError
from pipeline.evaluation.case import Case
from pipeline.evaluation.votes.count import count_votes
from pipeline.evaluation.votes.pairs import Pair, PairDrawer, busiest_part, choose_pairs, unseal
from tests.conftest import textured

METHODS = ["nano", "telea", "mean"]


def test_every_two_methods_are_compared_equally_often_on_either_side():
    pairs = choose_pairs([f"{index}.png" for index in range(40)], ["text", "objects"], METHODS, 120, 0)
    assert len(set(pairs)) == 120
    count = Counter(frozenset((pair.left, pair.right)) for pair in pairs)
    assert count == {frozenset(two): 40 for two in itertools.combinations(METHODS, 2)}
    lefts = Counter(pair.left for pair in pairs)
    assert all(20 < lefts[method] < 60 for method in METHODS)
    assert pairs == choose_pairs([f"{index}.png" for index in range(40)], ["text", "objects"], METHODS, 120, 0)
    assert pairs != choose_pairs([f"{index}.png" for index in range(40)], ["text", "objects"], METHODS, 120, 1)


def test_fewer_holes_give_fewer_pairs_and_one_method_none():
    assert len(choose_pairs(["a"], ["text"], METHODS, 60, 0)) == 3
    assert choose_pairs(["a"], ["text"], ["nano"], 60, 0) == []


def test_pairs_are_drawn_in_their_order_and_those_without_a_fill_left_out():
    pairs = choose_pairs(["0.png", "1.png"], ["objects"], METHODS, 60, 0)
    drawer = PairDrawer(pairs)
    assert drawer.photos == {0, 1}
    for index in (1, 0):
        truth = textured(70, 90, index)
        mask = np.zeros((70, 90), bool)
        mask[20:40, 30:60] = True
        fills = {name: truth for name in METHODS if (name, index) != ("mean", 1)}
        drawer.add(Case(Path(f"{index}.png"), "objects", truth, mask, fills))
    shown = [unseal(drawn.sealed) for drawn in drawer.drawn()]
    assert shown == [pair for pair in pairs if "mean" not in (pair.left, pair.right) or pair.name == "0.png"]


def test_shown_part_has_most_of_the_hole_around_its_middle():
    mask = np.zeros((900, 1300), bool)
    mask[100:140, 700:760] = True
    part = busiest_part(mask)
    assert (part.bottom - part.top, part.right - part.left) == (560, 560)
    assert mask[part.slices].sum() == mask.sum() and part.left + 280 == pytest.approx(730, abs=1)
    mask[600:, :] = True
    assert busiest_part(mask).top == 340
    small = np.zeros((60, 700), bool)
    small[0, 699] = True
    assert busiest_part(small).slices == (slice(0, 60), slice(140, 700))


def vote(left, right, choice):
    return {"pair": Pair(0, "a.png", "text", left, right).sealed(), "choice": choice}


def test_preferences_are_those_of_the_votes_with_wilson_intervals(tmp_path):
    votes = [vote("nano", "mean", "left")] * 7 + [vote("mean", "nano", "left")] + [vote("mean", "nano", "equal")] * 2
    for part, name in ((votes[:4], "a.json"), ([*votes[4:], vote("telea", "mean", "right")], "b.json")):
        (tmp_path / name).write_text(json.dumps({"page": "x", "votes": part}))
    found = {(each.method, each.other): each for each in count_votes([tmp_path / "a.json", tmp_path / "b.json"])}
    best = found["nano", ""]
    assert (best.won, best.lost, best.equal, best.rate.value) == (7, 1, 2, 0.8)
    # By the formula: (p + z²/2n ± z √(p(1−p)/n + z²/4n²)) / (1 + z²/n) for p = 0.8, n = 10, z = 1.96.
    assert (best.rate.low, best.rate.high) == (pytest.approx(0.4902, abs=1e-3), pytest.approx(0.9433, abs=1e-3))
    assert found["nano", "mean"] == best.__class__("nano", "mean", 7, 1, 2, best.rate)
    assert (found["mean", ""].won, found["mean", ""].lost, found["mean", ""].equal) == (2, 7, 2)
    assert next(iter(found))[0] == "nano"


@pytest.mark.parametrize("field", ["photo", "name", "kind", "left", "right"])
@pytest.mark.parametrize("value", [None, [], {}, True, 0.5])
def test_pair_with_a_field_of_another_type_is_none(field, value):
    with pytest.raises(ValueError, match=f"{field} must be"):
        unseal(replace(Pair(0, "a.png", "text", "a", "b"), **{field: value}).sealed())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no JSON", "is not a file of votes"),
        ("{}", "is not a file of votes"),
        ('{"votes": []}', "nobody has voted"),
        (json.dumps({"votes": [{"pair": "e30=", "choice": "left"}]}), "is not a file of votes"),
        (json.dumps({"votes": [vote("a", "b", "both")]}), "a choice must be left, right or equal, got both"),
        (json.dumps({"votes": [vote([], "b", "left")]}), "left must be str, got list"),
        (json.dumps({"votes": [vote("a", None, "left")]}), "right must be str, got NoneType"),
        (json.dumps({"votes": [vote("a", "b", "\x1b[2J")]}), r"got \\x1b\[2J"),
        ("[" * 100_000, "is not a file of votes"),
    ],
)
def test_files_without_votes_are_refused(tmp_path, text, message):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ConfigError, match=message):
        count_votes([tmp_path / "a.json"])
