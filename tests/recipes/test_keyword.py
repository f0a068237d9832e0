"""recipes/keyword/GE2E trains, tests, exports and reloads; killed, it ends with the same weights; on two processes."""

import itertools
import json
import re
import signal
from pathlib import Path

import pytest
import runs
import torch

from speechtools import cli
from speechtools.core.errors import AudioError
from speechtools.core.rows import read_rows
from speechtools.inference import SpeakerVerification
from speechtools.speaker.index import SpeakerRow

ROOT = Path(__file__).parents[2]
GE2E = ROOT / "recipes" / "keyword" / "GE2E"
YAML = GE2E / "hparams" / "multireader.yaml"
SMALL = [
    "--num_speakers=6",
    "--num_test_speakers=3",
    "--renditions=3",
    "--test_renditions=3",
    "--speaker_ratio=2",
    "--utterance_ratio=2",
    "--hidden_size=8",
    "--proj_size=6",
    "--num_layers=1",
    "--speakers_per_batch=4",
    "--utterances_per_speaker=2",
    "--other_speakers_per_batch=4",
    "--other_utterances_per_speaker=2",
    "--steps_per_epoch=4",
    "--number_of_epochs=2",
    "--num_enrolment=2",
    "--noprogressbar",
]
CELLS = [f"{a} -> {b}" for a in ("OK Google", "Hey Google") for b in ("OK Google", "Hey Google")]


def arguments(folder, prepared, *options, yaml=YAML):
    given = {option.split("=")[0] for option in options}
    small = [option for option in SMALL if option.split("=")[0] not in given]
    return [str(yaml), f"--output_folder={folder}", f"--prepared_folder={prepared}", *small, *options]


def train(folder, prepared, *options, yaml=YAML, **how):
    return runs.run(*arguments(folder, prepared, *options, yaml=yaml), cwd=GE2E, **how)


def weights(folder):
    return torch.load(Path(folder) / "pretrained" / "encoder.ckpt", weights_only=True)


def results(folder):
    return json.loads((Path(folder) / "results.json").read_text())


def assert_same_weights(one, other):
    ours, theirs = weights(one), weights(other)
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.fixture(scope="module")
def run(tmp_path_factory, builtin_cache):
    folder = tmp_path_factory.mktemp("keyword")
    return folder / "run", folder / "prepared", runs.succeeded(train(folder / "run", folder / "prepared"))


def test_what_a_run_leaves(run):
    folder, _, output = run
    for name in ("hyperparams.yaml", "train_log.txt", "results.json", "train.py"):
        assert (folder / name).is_file(), name
    for name in ("det", "eer_table"):
        assert (folder / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert "synthetic" in output and "verified with Hey Google" in output
    log = (folder / "train_log.txt").read_text().splitlines()
    assert len(log) == 2 and all("loss_main" in line and "loss_other" in line for line in log)
    found = results(folder)
    assert list(found["pairs"]) == CELLS and found["reader"] == "multireader"
    for cell in CELLS:
        figures = found["pairs"][cell]
        # 3 speakers with 3 renditions, 2 of which enrol: they are none of the tests of their own keyword
        tests = 3 if cell.split(" -> ")[0] == cell.split(" -> ")[1] else 9
        assert (figures["models"], figures["target_trials"], figures["nontarget_trials"]) == (3, tests, 2 * tests)
        assert 0 <= figures["eer"] <= 1
        place = folder / "trials" / cell.replace(" -> ", "_to_").replace(" ", "-")
        assert len((place / "trials.txt").read_text().splitlines()) == 3 * tests
    assert found["eer"] == pytest.approx(sum(found["pairs"][cell]["eer"] for cell in CELLS) / 4)


def test_every_key_is_read(run):
    assert runs.unused_keys(YAML, run[0]) == set()


def test_the_exported_model_verifies_files(run, tmp_path, capsys):
    folder, prepared, _ = run
    verifier = SpeakerVerification.from_hparams(folder / "pretrained", run_opts={"device": "cpu"})
    assert verifier.threshold == pytest.approx(results(folder)["threshold"])
    rows = read_rows(next(prepared.glob("keywords-main-*/test.csv")), SpeakerRow)
    one, other = rows[0].path, next(row.path for row in rows if row.speaker != rows[0].speaker)
    assert verifier.verify_files(one, one).score == pytest.approx(1, abs=1e-5)
    verdict = verifier.verify_files(one, other)
    assert -1 <= verdict.score <= 1 and verdict.accepted == (verdict.score >= verifier.threshold)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SpeakerVerification, "CHUNK_SECONDS", 0.5)  # of several pieces, each would have a segment
        with pytest.raises(AudioError, match="looks for a keyword of 0.8 s in at most 0.5 s"):
            verifier.verify_files(one, one)
    verifier.enroll("anna", [one])
    assert verifier.verify("anna", other).score == pytest.approx(verdict.score, abs=1e-5)
    rest = ["--voices", str(tmp_path / "voices.npz"), "--model", str(folder / "pretrained")]
    assert cli.main(["enroll", "anna", one, *rest]) == 0 and cli.main(["verify", "anna", other, *rest]) == 0
    word = "accepted" if verdict.accepted else "rejected"
    assert f"{word}\tscore {verdict.score:.4f}\tthreshold {verifier.threshold:.4f}" in capsys.readouterr().out


def test_the_exported_model_gives_the_results_again(run):
    """The round trip: all trials of a cell, from the original files through `pretrained`."""
    from speechtools.speaker.evaluation import TrialSet, evaluate
    from speechtools.speaker.trials import read_trials

    folder, prepared, _ = run
    verifier = SpeakerVerification.from_hparams(folder / "pretrained", run_opts={"device": "cpu"})
    rows = read_rows(next(prepared.glob("keywords-main-*/test.csv")), SpeakerRow)
    dvectors = [vector.numpy() for _, vector in verifier.encode_files([row.path for row in rows])]
    for cell in CELLS:
        place = folder / "trials" / cell.replace(" -> ", "_to_").replace(" ", "-")
        trials = read_trials(place / "trials.txt", [row.utt_id for row in rows])
        found = evaluate(dvectors, TrialSet(trials, None, None, None)).metrics
        expected = results(folder)["pairs"][cell]
        assert found["eer_threshold"] == pytest.approx(expected["eer_threshold"], abs=0.01)


def test_a_killed_run_ends_with_the_same_weights(run, tmp_path):
    folder, prepared, _ = run
    option = "--ckpt_interval_steps=2"
    killed = train(tmp_path / "run", prepared, option, kill_after=7)
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-3000:]
    assert not (tmp_path / "run" / "results.json").exists()
    runs.succeeded(train(tmp_path / "run", prepared, option))
    assert_same_weights(tmp_path / "run", folder)
    assert results(tmp_path / "run") == results(folder)


@pytest.mark.processes
def test_two_processes_train_test_and_export(run, tmp_path):
    options = ("--distributed_backend=gloo", "--device=cpu", "--speakers_per_batch=2", "--other_speakers_per_batch=2")
    given = arguments(tmp_path / "run", run[1], *options, "--number_of_epochs=1")
    for done in runs.run_processes(2, *given, cwd=GE2E):
        runs.succeeded(done)
    assert list(results(tmp_path / "run")["pairs"]) == CELLS


VARIANTS = {
    "mixed": ["--reader_name=mixed"],
    "te2e": ["--loss_name=te2e"],
    "lstm": ["--encoder_name=lstm", "--hidden_size=16"],
    "lengths": ["--sources={other: {segment_seconds: 0.6}}"],
    "silent": ["--other_weight=0"],
    "alone": [],  # of a yaml without the other source
}
MISTAKES = {
    "keyword": (
        ["--corpus=keyword-folder", "--data_folder=corpus", "--keywords=[xyzzy]"],
        "The source 'main': No file of the corpus",
    ),
    "negative": (["--weight=-1"], "The source 'main' has the weight -1"),
    "nan": (["--other_weight=.nan"], "--other_weight: nan is not a number"),
    "large": (["--speakers_per_batch=64"], "The source 'main': 1 process(es) need 64 speakers"),
    "reader": (["--reader_name=multireeder"], "Did you mean 'reader/multireader'"),
    "enrolment": (["--num_enrolment=50"], "Lower num_enrolment"),
    "double": ([], 'found duplicate key "main"'),  # of a yaml with two sources of one name
}


def train_one(folder, prepared, name, options):
    """An epoch with these options, of the yaml ``<name>.yaml`` where there is one."""
    own = folder / f"{name}.yaml"
    options = [option.replace("=corpus", f"={folder}/corpus") for option in options]
    return train(folder / name, prepared, *options, "--number_of_epochs=1", yaml=own if own.exists() else YAML)


def test_parts_are_exchanged_by_one_option_and_a_source_of_weight_0_is_none(run, tmp_path):
    text, count = re.subn(
        r"    other:\n(?: {8}.*\n)+", "", YAML.read_text().replace("../../../../hparams", str(ROOT / "hparams"))
    )
    assert count == 1
    (tmp_path / "alone.yaml").write_text(text)
    logs = {}
    for name, options in VARIANTS.items():
        runs.succeeded(train_one(tmp_path, run[1], name, options))
        assert list(results(tmp_path / name)["pairs"]) == CELLS and 0 <= results(tmp_path / name)["eer"] <= 1
        logs[name] = set(re.findall(r"loss_\w+", (tmp_path / name / "train_log.txt").read_text()))
    assert logs["mixed"] == {"loss_mixed"} and logs["te2e"] == logs["lstm"] == logs["lengths"] == {
        "loss_main",
        "loss_other",
    }
    # To the bit the run whose yaml has no other source.
    assert logs["silent"] == logs["alone"] == {"loss_main"}
    assert_same_weights(tmp_path / "silent", tmp_path / "alone")
    one, other = (results(tmp_path / name) for name in ("silent", "alone"))
    assert all(one[key] == other[key] for key in ("pairs", "threshold", "trained_on"))


def test_mistakes_end_in_one_message(run, tmp_path):
    (tmp_path / "corpus" / "ok" / "anna").mkdir(parents=True)
    (tmp_path / "corpus" / "ok" / "anna" / "1.wav").write_bytes(b"")
    (tmp_path / "double.yaml").write_text(
        YAML.read_text()
        .replace("../../../../hparams", str(ROOT / "hparams"))
        .replace("\n    other:\n", "\n    main:\n")
    )
    for name, (options, message) in MISTAKES.items():
        done = train_one(tmp_path, run[1], name, options)
        runs.one_message(done, message)
        assert (done.stdout + done.stderr).count("error: ") == 1, name


def test_tables_1_and_2_train_every_net_with_both_readers_and_keep_what_is_finished(run, tmp_path):
    options = [option for option in SMALL if not option.startswith(("--steps_per_epoch", "--number_of_epochs"))]
    options += ["--steps_per_epoch=2", "--number_of_epochs=1", f"--prepared_folder={run[1]}"]
    command = ("--seeds=1", f"--output_folder={tmp_path}", *options)
    how = {"cwd": GE2E, "script": "reproduce.py", "before": runs.trainings_are_forked}
    done = runs.run(*command, **how)
    runs.succeeded(done)
    found = json.loads((tmp_path / "tables.json").read_text())
    assert found["seeds"] == [1] and "synthetic" in found["trained_on"]
    nets = list(dict.fromkeys(each["net"] for each in found["nets"]))
    trained = {(each["net"], each["reader"]): each["runs"] for each in found["nets"]}
    assert len(nets) == 3 and set(trained) == set(itertools.product(nets, ("mixed", "multireader")))
    for (_, reader), (each,) in trained.items():
        assert list(each["pairs"]) == CELLS and each["reader"] == reader and each["seed"] == 1 and each["seconds"] > 0
    texts = [path.read_text() for path in tmp_path.glob("*/*/1/hyperparams.yaml")]
    told = [dict(re.findall(r"^(\w+): (\S+)", text, re.MULTILINE)) for text in texts]
    parts = [(each["encoder_name"], each["loss_name"], each["lr"]) for each in told]
    expected = [("lstm", "te2e", "0.0005"), ("lstmp", "te2e", "0.0005"), ("lstmp", "ge2e-softmax", "0.002")]
    assert sorted(parts) == sorted(2 * expected)
    # An option of the command line stands above what a net has of its own.
    assert all(each["hop_ms"] == "20" and each["hidden_size"] == "8" and each["proj_size"] == "6" for each in told)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.parent != tmp_path}
    again = runs.run(*command, **how)
    runs.succeeded(again)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert json.loads((tmp_path / "tables.json").read_text()) == found
    for printed in (done.stdout, again.stdout):
        assert "Table 1" in printed and "Table 2" in printed and "4.47 / 2.99" in printed  # the paper's
