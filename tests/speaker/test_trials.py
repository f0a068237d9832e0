"""Trials of speaker verification and their lists."""

import itertools

import numpy as np
import pytest
import torch

from speechtools.core.errors import AudioError, ConfigError, CorpusError
from speechtools.speaker.pairs import Pair, read_pairs, score_pairs
from speechtools.speaker.trials import Trials, make_pairs, make_trials, read_trials
from speechtools.speaker.windows import Embedded

SPEAKERS = np.repeat(np.arange(4), [5, 3, 6, 2])
NAMES = ["anna", "bob", "carl", "dora"]
IDS = [f"{NAMES[speaker]}-{number}" for number, speaker in enumerate(SPEAKERS)]


def test_every_enrolled_speaker_against_every_other_utterance():
    trials = make_trials(SPEAKERS, NAMES, num_enrolment=2)
    assert trials.names == ["anna", "bob", "carl"]  # dora has no more than 2
    for name, members in zip(trials.names, trials.enrolments, strict=True):
        assert len(members) == 2 and {NAMES[SPEAKERS[i]] for i in members} == {name}
    enrolled = set(itertools.chain(*trials.enrolments))
    pairs = set(zip(trials.models.tolist(), trials.tests.tolist(), strict=True))
    assert pairs == {(m, t) for m in range(3) for t in range(14) if t not in enrolled}
    names = [(trials.names[m], NAMES[SPEAKERS[t]]) for m, t in zip(trials.models, trials.tests, strict=True)]
    assert [a == b for a, b in names] == trials.targets.tolist()


def test_every_utterance_against_every_other_one():
    trials = make_pairs(SPEAKERS, NAMES)
    pairs = set(zip(trials.models.tolist(), trials.tests.tolist(), strict=True))
    assert pairs == set(itertools.combinations(range(len(SPEAKERS)), 2)) and len(trials.models) == len(pairs)
    assert (trials.targets == (SPEAKERS[trials.models] == SPEAKERS[trials.tests])).all()
    assert all(members.tolist() == [number] for number, members in enumerate(trials.enrolments))
    assert trials.names[:6] == ["anna/0", "anna/1", "anna/2", "anna/3", "anna/4", "bob/0"]
    dvectors = np.random.default_rng(0).standard_normal((len(SPEAKERS), 5))
    expected = (unit := dvectors / np.linalg.norm(dvectors, axis=1, keepdims=True)) @ unit.T
    assert trials.scores(dvectors) == pytest.approx(expected[trials.models, trials.tests], abs=1e-12)


def test_pairs_of_two_speakers_are_drawn_at_random():
    speakers = np.repeat(np.arange(40), 3)
    names = [str(label) for label in range(40)]
    trials = make_pairs(speakers, names, seed=1, max_nontargets=50)
    chosen = list(zip(trials.models.tolist(), trials.tests.tolist(), strict=True))
    assert len(set(chosen)) == len(chosen) == 40 * 3 + 50 and int(trials.targets.sum()) == 40 * 3
    assert (trials.targets == (speakers[trials.models] == speakers[trials.tests])).all()
    again, other = (make_pairs(speakers, names, seed, max_nontargets=50) for seed in (1, 2))
    assert (again.tests == trials.tests).all() and not (other.tests == trials.tests).all()
    every = make_pairs(speakers, names, max_nontargets=120 * 119)  # more than there are
    assert len(every.targets) == 120 * 119 // 2


@pytest.mark.parametrize("speakers", [[0, 0, 0], [0, 1, 2]])
def test_pairs_need_two_speakers_and_one_with_two_utterances(speakers):
    with pytest.raises(ConfigError, match="3 utterances of . speakers"):
        make_pairs(np.array(speakers), NAMES)
    with pytest.raises(ConfigError, match="max_nontargets=0"):
        make_pairs(SPEAKERS, NAMES, max_nontargets=0)


def test_a_trial_scores_the_cosine_of_voiceprint_and_utterance():
    trials = make_trials(SPEAKERS, NAMES, num_enrolment=2)
    dvectors = np.random.default_rng(0).standard_normal((len(SPEAKERS), 5))
    for score, model, test in zip(trials.scores(dvectors), trials.models, trials.tests, strict=True):
        a, b = dvectors[trials.enrolments[model]].mean(axis=0), dvectors[test]
        assert score == pytest.approx(a @ b / np.sqrt((a @ a) * (b @ b)), abs=1e-12)
    dvectors[3, 2] = np.nan
    with pytest.raises(CorpusError, match="1 of 16 .*utterance 'anna-3'"):
        trials.scores(dvectors, IDS)


def test_few_of_many_pairs_score_as_in_one_product(monkeypatch):
    monkeypatch.setattr("speechtools.speaker.trials._PAIRS_AT_A_TIME", 1000)
    rng = np.random.default_rng(0)
    dvectors = rng.standard_normal((6000, 3))
    members = [np.array([index]) for index in range(3000)]
    tests = np.append(np.arange(3000, 6000), rng.integers(0, 6000, 100))  # of 9 million pairs
    models = rng.integers(0, 3000, len(tests))
    trials = Trials([str(index) for index in range(3000)], members, models, tests, tests % 2 == 0)
    unit = dvectors / np.linalg.norm(dvectors, axis=1, keepdims=True)
    assert np.allclose(trials.scores(dvectors), (unit[:3000] @ unit.T)[models, tests], atol=1e-12)


@pytest.mark.parametrize("most", [1, 13, 1000])
def test_a_draw_of_nontargets_keeps_every_target(most):
    whole = make_trials(SPEAKERS, NAMES, 2)
    some = make_trials(SPEAKERS, NAMES, 2, max_nontargets=most)
    pairs, all_pairs = (list(zip(t.models.tolist(), t.tests.tolist(), t.targets, strict=True)) for t in (some, whole))
    assert set(pairs) <= set(all_pairs) and len(set(pairs)) == len(pairs)
    assert some.targets.sum() == whole.targets.sum()
    assert (~some.targets).sum() == min(most, (~whole.targets).sum())
    assert [members.tolist() for members in some.enrolments] == [members.tolist() for members in whole.enrolments]


def test_the_seed_alone_draws():
    draws = [make_trials(SPEAKERS, NAMES, 2, seed, max_nontargets=5).tests.tolist() for seed in (3, 3, *range(10))]
    assert draws[0] == draws[1] and len(set(map(tuple, draws))) > 5


@pytest.mark.parametrize("names", [["1", "0", "2", "3"], ["Anna Maria", "Bob", "Carl", "Dora"]])
@pytest.mark.parametrize("form", ["{}", "my recording {}", "a.b-{}"])
def test_trials_written_are_those_read_whatever_the_names(names, form, tmp_path):
    ids = [form.format(number) for number in range(len(SPEAKERS))]
    trials = make_trials(SPEAKERS, names, num_enrolment=2, seed=5)
    trials.write(tmp_path, ids)
    again = read_trials(tmp_path / "trials.txt", ids)
    assert again.names == trials.names
    for name in ("models", "tests", "targets"):
        assert np.array_equal(getattr(again, name), getattr(trials, name))
    assert all(map(np.array_equal, again.enrolments, trials.enrolments))


def test_lists_written_by_hand_and_by_other_systems(tmp_path):
    path = tmp_path / "trials.txt"
    (tmp_path / "enrolments.txt").write_text("anna anna-0  anna-1\n\nbob bob-5\n")
    path.write_bytes(b"\xef\xbb\xbfanna anna-2 target\r\n\r\nbob  anna-2 nontarget\r\n")
    trials = read_trials(path, IDS)
    assert trials.names == ["anna", "bob"] and trials.enrolments[0].tolist() == [0, 1]
    assert trials.targets.tolist() == [True, False]
    # In the form of VoxCeleb.
    path.write_text("1 anna/0.wav anna/1\n0 anna/0.wav bob-5.wav\n1 bob-5.wav bob-6.wav\n")
    trials = read_trials(path, IDS)
    assert trials.targets.tolist() == [True, False, True] and trials.tests.tolist() == [1, 5, 6]
    assert [members.tolist() for members in trials.enrolments] == [[0], [5]]
    # With commas, as for pairs.
    path.write_text("1,anna/0.wav,anna/1\n0, anna/0.wav, bob-5.wav\n")
    assert read_trials(path, IDS).tests.tolist() == [1, 5]


@pytest.mark.parametrize(
    "text, enrolments, message",
    [
        ("", "", "is empty"),
        ("1 anna-0 anna-1\n0 anna-0 bobb-5\n", "", "Line 2 of .* 'bobb-5'.*'bob-5'.*rejected.csv"),
        ("1 anna-0 anna-1\n\n \n2 anna-0 bob-5\n", "", "Line 4 of .*'2 anna-0 bob-5'"),
        ("1 anna-0\n", "", "'1 anna-0'"),
        ("1 anna-0 anna-1\n1 bob-5 bob-6\n", "", "All 2 .* are target trials"),
        ("anna anna-1 target\n", "", "enrolments.txt cannot be read"),
        ("anna anna-1 target\n", "anne anna-0\n", "names the model 'anna'.*Did you mean 'anne'"),
        ("anna anna-1 target\n", "\nanna\n", "Line 2 of .*enrolments.txt names the model 'anna' without utterances"),
        ("anna anna-1 target\n", "anna anna-0\nanna anna-2\n", "Line 2 of .* names the model 'anna' a second time"),
    ],
)
def test_malformed_lists(tmp_path, text, enrolments, message):
    (tmp_path / "trials.txt").write_text(text)
    if enrolments:
        (tmp_path / "enrolments.txt").write_text(enrolments)
    with pytest.raises(CorpusError, match=message):
        read_trials(tmp_path / "trials.txt", IDS)


@pytest.mark.parametrize(
    "num_enrolment, most, message",
    [(0, None, "num_enrolment=0"), (2, 0, "max_nontargets=0"), (5, None, "1 of 4 speakers have more than")],
)
def test_impossible_options(num_enrolment, most, message):
    with pytest.raises(ConfigError, match=message):
        make_trials(SPEAKERS, NAMES, num_enrolment, max_nontargets=most)


def test_pairs_are_separated_by_spaces_tabs_or_commas(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text(
        '\ufeff1 a.wav id/b.wav\r\n\n0\ta b.wav\tc,d.wav\n 1, a b.wav , c.wav\n0,"a,b.wav",c.wav\n', "utf-8"
    )
    assert [(pair.line, pair.target, pair.first, pair.second) for pair in read_pairs(path)] == [
        (1, True, "a.wav", "id/b.wav"),
        (3, False, "a b.wav", "c,d.wav"),
        (4, True, "a b.wav", "c.wav"),
        (5, False, "a,b.wav", "c.wav"),
    ]


@pytest.mark.parametrize(
    "text, message",
    [
        ("1 a b\n0 a\n", "Line 2 of"),
        ("1 a b\n0 a b c\n", "tabs if a name contains spaces"),
        ("1 a b\n\n2 a b\n", "Line 3 of"),
        ("1\ta\t\n", "Line 1 of"),
        ("a b target\n", "Line 1 of"),
        ("1 a b\n1 c d\n", r"All 2 trials of .* are target \(1\)"),
        ("0,a,b\n", r"All 1 trials of .* are non-target \(0\)"),
        ("\n \n", "is empty"),
        (None, "cannot be read"),
        (b"RIFF\xff\xfe", "cannot be read"),
        ("1,a,b\n0,a," + "b" * 200_000, "cannot be read"),
    ],
)
def test_a_list_of_pairs_with_another_form_is_refused(tmp_path, text, message):
    path = tmp_path / "list.txt"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(CorpusError, match=message) as error:
        read_pairs(path)
    assert "list.txt" in str(error.value) and "\n" not in str(error.value)


def test_pairs_are_scored_by_the_cosine_and_each_recording_is_embedded_once(tmp_path):
    dvectors = {"a": [2.0, 0.0], "b": [3.0, 4.0], "c": [0.0, 1.0]}

    class Encoder:
        normalization = calibration = None

        def embed_files(self, paths, batch_size, *, channel):
            paths = list(paths)
            assert paths == [tmp_path / name for name in ("a", "b", "gone", "c")] and (batch_size, channel) == (2, 1)
            for path in paths:
                vector = dvectors.get(path.name)
                yield path, Embedded(torch.tensor(vector)) if vector else AudioError(f"{path} does not exist.")

    pairs = [Pair(1, True, "a", "b"), Pair(2, True, "gone", "b"), Pair(3, False, "c", "a"), Pair(4, False, "b", "b")]
    scores, errors = score_pairs(Encoder(), pairs, tmp_path, 2, channel=1)
    assert scores == pytest.approx([0.6, np.nan, 0.0, 1.0], nan_ok=True) and list(errors) == ["gone"]
    dvectors.clear()
    scores, errors = score_pairs(Encoder(), pairs, tmp_path, 2, channel=1)
    assert np.isnan(scores).all() and list(errors) == ["a", "b", "gone", "c"]
