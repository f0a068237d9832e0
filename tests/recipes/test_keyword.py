"""recipes/keyword/GE2E: its trials, exported model, sources, readers, mistakes, and tables 1 and 2."""

import itertools
import json
import re

import pytest
import runs

from speechtools.core.errors import AudioError
from speechtools.core.rows import read_rows
from speechtools.inference import SpeakerVerification
from speechtools.speaker.evaluation import TrialSet, evaluate
from speechtools.speaker.index import SpeakerRow
from speechtools.speaker.trials import read_trials
from tests.recipes.small import KEYWORD, ROOT, results

CELLS = [f"{a} -> {b}" for a in ("OK Google", "Hey Google") for b in ("OK Google", "Hey Google")]


@pytest.fixture
def run(trained):
    return trained(KEYWORD)


@pytest.fixture
def verifier(run):
    return SpeakerVerification.from_hparams(run[0] / "pretrained", run_opts={"device": "cpu"})


@pytest.fixture
def rows(run):
    return read_rows(next(run[1].glob("keywords-main-*/test.csv")), SpeakerRow)


def test_the_exported_model_gives_the_results_of_every_pair_of_keywords_again(run, verifier, rows):
    folder, _, output = run
    assert "verified with Hey Google" in output
    log = (folder / "train_log.txt").read_text().splitlines()
    assert all("loss_main" in line and "loss_other" in line for line in log)
    saved = results(folder)
    assert list(saved["pairs"]) == CELLS and saved["reader"] == "multireader"
    assert saved["eer"] == pytest.approx(sum(saved["pairs"][cell]["eer"] for cell in CELLS) / 4)
    dvectors = [vector.numpy() for _, vector in verifier.encode_files([row.path for row in rows])]
    for cell in CELLS:
        enrolled, verified = cell.split(" -> ")
        # Of 3 speakers with 3 renditions, 2 of which enroll and are not tests of their own keyword.
        tests = 3 if enrolled == verified else 9
        pair = saved["pairs"][cell]
        assert (pair["models"], pair["target_trials"], pair["nontarget_trials"]) == (3, tests, 2 * tests)
        place = folder / "trials" / cell.replace(" -> ", "_to_").replace(" ", "-")
        trials = read_trials(place / "trials.txt", [row.utt_id for row in rows])
        again = evaluate(dvectors, TrialSet(trials, None, None, None)).metrics
        assert again["eer_threshold"] == pytest.approx(pair["eer_threshold"], abs=0.01)


def test_the_exported_model_verifies_files(run, verifier, rows, monkeypatch):
    assert verifier.threshold == pytest.approx(results(run[0])["threshold"])
    one, other = rows[0].path, next(row.path for row in rows if row.speaker != rows[0].speaker)
    assert verifier.verify_files(one, one).score == pytest.approx(1, abs=1e-5)
    verdict = verifier.verify_files(one, other)
    assert -1 <= verdict.score <= 1 and verdict.accepted == (verdict.score >= verifier.threshold)
    verifier.enroll("anna", [one])
    assert verifier.verify("anna", other).score == pytest.approx(verdict.score, abs=1e-5)
    monkeypatch.setattr(SpeakerVerification, "CHUNK_SECONDS", 0.5)  # of several chunks, each would have a segment
    with pytest.raises(AudioError, match="looks for a keyword of 0.8 s"):
        verifier.verify_files(one, one)


@pytest.mark.processes
def test_two_processes_train_test_and_export(run, tmp_path):
    options = ("--distributed_backend=gloo", "--device=cpu", "--speakers_per_batch=2", "--other_speakers_per_batch=2")
    arguments = KEYWORD.arguments(tmp_path / "run", run[1], *options, "--number_of_epochs=1")
    for done in runs.run_processes(2, *arguments, cwd=KEYWORD.folder):
        runs.succeeded(done)
    assert list(results(tmp_path / "run")["pairs"]) == CELLS


@pytest.mark.parametrize(
    "option, losses",
    [
        ("--reader_name=mixed", {"loss_mixed"}),
        ("--encoder_name=lstm", {"loss_main", "loss_other"}),
        ("--sources={other: {segment_seconds: 0.6}}", {"loss_main", "loss_other"}),
    ],
)
def test_plugins_and_sources_are_changed_by_options(run, tmp_path, option, losses):
    runs.succeeded(KEYWORD.train(tmp_path / "run", run[1], option, "--number_of_epochs=1"))
    assert list(results(tmp_path / "run")["pairs"]) == CELLS
    assert set(re.findall(r"loss_\w+", (tmp_path / "run" / "train_log.txt").read_text())) == losses


def test_a_source_of_weight_0_changes_nothing(run, tmp_path):
    text = (KEYWORD.folder / KEYWORD.yaml).read_text().replace("../../../../hparams", str(ROOT / "hparams"))
    (tmp_path / "alone.yaml").write_text(re.sub(r"    other:\n(?: {8}.*\n)+", "", text))
    for name, option, yaml in (("silent", "--other_weight=0", None), ("alone", "--weight=1", tmp_path / "alone.yaml")):
        runs.succeeded(KEYWORD.train(tmp_path / name, run[1], option, "--number_of_epochs=1", yaml=yaml))
    assert KEYWORD.same_weights(tmp_path / "silent", tmp_path / "alone")
    silent, alone = results(tmp_path / "silent"), results(tmp_path / "alone")
    assert all(silent[key] == alone[key] for key in ("pairs", "threshold", "trained_on"))


@pytest.mark.parametrize(
    "option, message",
    [
        ("--keywords=[xyzzy]", "The source 'main': No file of the corpus"),
        ("--weight=-1", "The source 'main' has the weight -1"),
        ("--speakers_per_batch=64", "The source 'main': 1 process(es) need 64 speakers"),
        ("--num_enrolment=50", "Lower num_enrolment"),
    ],
)
def test_mistakes_end_in_one_message(run, tmp_path, option, message):
    recipe, options = KEYWORD, [option]
    if "keywords" in option:
        (tmp_path / "ok" / "anna").mkdir(parents=True)
        (tmp_path / "ok" / "anna" / "1.wav").write_bytes(b"")
        recipe = KEYWORD._replace(small="")
        options += ["--corpus=keyword-folder", f"--data_folder={tmp_path}"]
    runs.one_message(recipe.train(tmp_path / "run", run[1], *options), message)


@pytest.mark.slow
def test_tables_1_and_2_train_every_net_with_both_readers_once(run, tmp_path):
    options = KEYWORD.options("--steps_per_epoch", "--number_of_epochs")
    options += ["--steps_per_epoch=2", "--number_of_epochs=1", f"--prepared_folder={run[1]}"]
    command = ("--seeds=1", f"--output_folder={tmp_path}", *options)
    how = {"cwd": KEYWORD.folder, "script": "reproduce.py", "before": runs.trainings_are_forked}
    done = runs.run(*command, **how)
    runs.succeeded(done)
    tables = json.loads((tmp_path / "tables.json").read_text())
    assert tables["seeds"] == [1] and "synthetic" in tables["trained_on"]
    nets = list(dict.fromkeys(row["net"] for row in tables["nets"]))
    trained = {(row["net"], row["reader"]): row["runs"] for row in tables["nets"]}
    assert len(nets) == 3 and set(trained) == set(itertools.product(nets, ("mixed", "multireader")))
    for (_, reader), (result,) in trained.items():
        assert list(result["pairs"]) == CELLS and result["reader"] == reader
        assert result["seed"] == 1 and result["seconds"] > 0
    texts = [path.read_text() for path in tmp_path.glob("*/*/1/hyperparams.yaml")]
    chosen = [dict(re.findall(r"^(\w+): (\S+)", text, re.MULTILINE)) for text in texts]
    plugins = [(values["encoder_name"], values["loss_name"], values["lr"]) for values in chosen]
    expected = [("lstm", "te2e", "0.0005"), ("lstmp", "te2e", "0.0005"), ("lstmp", "ge2e-softmax", "0.002")]
    assert sorted(plugins) == sorted(2 * expected)
    # An option of the command line has precedence over those of a net.
    assert {(values["hop_ms"], values["hidden_size"], values["proj_size"]) for values in chosen} == {("20", "8", "6")}
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.parent != tmp_path}
    again = runs.run(*command, **how)
    runs.succeeded(again)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert json.loads((tmp_path / "tables.json").read_text()) == tables
    for printed in (done.stdout, again.stdout):
        assert "Table 1" in printed and "Table 2" in printed and "4.47 / 2.99" in printed  # the paper's
