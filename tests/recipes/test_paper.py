"""Quality-Net on enhanced speech: the enhancer is trained first, once, even if its training is killed."""

import signal
from pathlib import Path

import pytest
import runs

from speechtools import audio
from speechtools.core.rows import read_rows
from speechtools.enhancement.data import MixtureRow
from speechtools.inference import SpeechEnhancer
from speechtools.quality import paper as tables
from speechtools.quality.data import SPLITS
from speechtools.quality.rows import QualityRow
from tests.recipes.small import ENHANCEMENT, PAPER, results

#: The first test waits for three trainings.
pytestmark = pytest.mark.timeout(300)

#: A train.py that stands in for another, whose process it kills with SIGKILL after so many optimizer steps.
KILLED = f"""
import runpy, sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
import runs
runs.killed_after(4)
runpy.run_path({str(ENHANCEMENT.folder / "train.py")!r}, run_name="__main__")
"""


def times(folder):
    return {path: path.stat().st_mtime_ns for path in Path(folder).rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def prepared(trained):
    """The folder in which the enhancer's own recipe has prepared its sets."""
    return trained(ENHANCEMENT)[1]


@pytest.fixture(scope="module")
def killed(prepared, tmp_path_factory):
    """The first start, in which the enhancer's training is killed in its second epoch: folder and process."""
    recipe = tmp_path_factory.mktemp("recipe") / "enhancement"
    runs.copy_hparams(ENHANCEMENT.folder, recipe)
    (recipe / "train.py").write_text(KILLED)
    run = recipe.parent / "run"
    return run, PAPER.train(run, prepared, f"--enhancer_recipe={recipe}")


@pytest.fixture(scope="module")
def paper(killed, prepared):
    """The second start: its folder, and what it printed."""
    return killed[0], runs.succeeded(PAPER.train(killed[0], prepared))


@pytest.fixture(scope="module")
def stage(paper, prepared):
    """The folder of the enhancer's training."""
    (folder,) = (path.parent for path in prepared.glob("enhancement-*/asked.json"))
    return folder


def test_the_enhancer_is_trained_first_and_continued_after_a_kill(killed, paper, stage, trained):
    done = killed[1]
    assert "does not exist yet. It is trained first" in done.stdout + done.stderr
    runs.one_message(done, f"ended with status {-signal.SIGKILL}")
    output = paper[1]
    # The enhancer's log goes to the same streams; each of these is printed to one of them alone.
    assert output.index("It is trained first") < output.index("Preparing the sets in")
    assert output.index("enhanced: new speakers") < output.index("LCC")
    # It does not prepare its sets again, and ends with the weights of its own recipe, never interrupted.
    assert "Using the sets in" in output
    stage_log = (stage / "log.txt").read_text()
    assert stage_log.count("Going into epoch 1") == 1 and stage_log.count("Going into epoch 2") == 2
    assert ENHANCEMENT.same_weights(stage, trained(ENHANCEMENT)[0])


def test_every_key_is_read(paper):
    assert runs.unused_keys(PAPER.folder / "hparams" / "qnet.yaml", paper[0]) == set()


def test_the_papers_tables_can_be_made_of_a_run(paper, tmp_path):
    """What reproduce.py reads is what a run leaves."""
    saved = results(paper[0])
    subsets = {name: group["utterances"] for name, group in saved["by_subset"].items()}
    assert subsets == {"clean": 1, "noisy": 4, "enhanced": 4} and saved["overall"]["utterances"] == 9
    assert "the enhancer" not in saved["trained_on"], "it has heard nothing of the test"
    assert saved["train_utterances"] == 20
    made = tables.Runs(tmp_path, tmp_path)
    for name in ("constraint", "no-constraint", "autoencoder-nn"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1").symlink_to(paper[0])
        made.results[name, 1] = saved
    assert f"{saved['clean_frame_variance']:.4f}" in tables.table1(made)
    table2 = tables.table2(made, {"constraint": -3})
    assert all(f"{saved['localization'][key]:.3f}" in table2 for key in ("auc", "auc_within", "clean_drop"))
    assert f"{saved['overall']['lcc']:.4f} (0.8434)" in tables.table3(made)
    assert "| (a) clean and noisy | 5 |" in tables.figure4(made)
    assert (tmp_path / "figure4b.png").stat().st_size > 10000


def test_the_enhanced_files_are_made_by_the_trained_enhancer(paper, stage, prepared):
    (sets,) = prepared.glob("quality-*")
    rows = {row.ID: row for row in read_rows(sets / "test.csv", QualityRow, check=True)}
    model = SpeechEnhancer.from_hparams(stage / "pretrained", run_opts={"device": "cpu"})
    for name, row in rows.items():
        if row.subset == "enhanced":
            expected = model.enhance_file(rows[name.replace("enhanced", "noisy")].path)
            assert abs(audio.read(row.path) - expected).max() < 1e-3
    heard = {row.speaker for row in read_rows(next(prepared.glob("enhancement-*/train.csv")), MixtureRow)}
    others = {row.speaker for split in SPLITS for row in read_rows(sets / f"{split}.csv", QualityRow)}
    assert not heard & others


def test_the_next_start_redoes_nothing(paper, stage, prepared, tmp_path):
    (sets,) = prepared.glob("quality-*")
    before = times(stage) | times(sets)
    output = runs.succeeded(PAPER.train(paper[0], prepared))
    assert "trained first" not in output and "Going into epoch" not in output
    assert times(stage) | times(sets) == before
    done = PAPER.train(tmp_path / "run", prepared, "--num_train_utterances=2000")
    runs.one_message(done, "num_train_utterances=2000: the training set has 20")


def test_the_two_stage_baseline_continues_after_a_kill(paper, stage, prepared, tmp_path):
    """Same sets, same enhancer; its features, learnt ahead of the run, are not learnt twice."""
    before = times(stage)
    # It has no hidden_size.
    baseline = PAPER._replace(yaml="hparams/autoencoder_nn.yaml", small=PAPER.small.replace("--hidden_size=8", ""))
    assert "trained first" not in runs.succeeded(baseline.train(tmp_path / "whole", prepared))
    killed = baseline.train(tmp_path / "run", prepared, kill_after=4)
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-3000:]
    features = (tmp_path / "run" / "save" / "features.ckpt").stat().st_mtime_ns
    output = runs.succeeded(baseline.train(tmp_path / "run", prepared))
    assert "Going into epoch 1" not in output
    assert (tmp_path / "run" / "save" / "features.ckpt").stat().st_mtime_ns == features
    assert PAPER.same_weights(tmp_path / "run", tmp_path / "whole")
    assert len(list(prepared.glob("quality-*"))) == 1 and times(stage) == before
