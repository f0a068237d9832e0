"""The enhancer's recipe, and Quality-Net's with enhanced speech: stages run by themselves, once, killed or not."""

import json
import shutil
import signal
from pathlib import Path

import pytest
import runs
import torch
from runs import one_message, succeeded

from speechtools.core.rows import read_rows
from speechtools.enhancement import evaluation as enhancement_evaluation
from speechtools.enhancement.data import JudgedRow, MixtureRow
from speechtools.inference import QualityNet, SpeechEnhancer
from speechtools.quality import data as quality_data
from speechtools.quality import paper as quality_results
from speechtools.quality.data import QualityRow

TIMIT = Path(__file__).parents[2] / "recipes" / "TIMIT"
#: Of both recipes.
SPEECH = {
    "corpus_options": {"builtin": {"num_train_speakers": 2, "num_test_speakers": 6}},
    "valid_noises": 2,
    "enhancer_noises": 2,
}
ENHANCER = {
    "num_train_utterances": 3,
    "num_valid_utterances": 1,
    "num_test_utterances": 1,
    "snrs_db": [0],
    "hidden_size": 6,
    "num_layers": 1,
    "number_of_epochs": 2,
    "batch_size": 2,
    "average_decay": 0.5,
    "lr": 0.01,
}
QUALITY = {
    "num_clean_train": 4,
    "num_valid_utterances": 1,
    "num_test_utterances": 1,
    "test_snrs_db": [0],
    "hidden_size": 8,
    "number_of_epochs": 2,
    "batch_size": 8,
    "average_decay": 0.5,
    "num_frames": 1000,
    "enhancer_options": ENHANCER,
}
#: A train.py that stands in for another, whose process it kills with SIGKILL after so many optimizer steps.
KILLED = """
import runpy, sys
sys.path.insert(0, {tests!r})
import runs
runs.killed_after({steps})
runpy.run_path({script!r}, run_name="__main__")
"""


def arguments(recipe, yaml, folder, prepared, options):
    """Those of train.py for a small run; options as Python values."""
    small = SPEECH | (ENHANCER if recipe == "enhancement" else QUALITY)
    options = small | {"output_folder": str(folder), "prepared_folder": str(prepared)} | options
    return [f"hparams/{yaml}", *(f"--{name}={json.dumps(value)}" for name, value in options.items()), "--noprogressbar"]


def train(recipe, yaml, folder, prepared, options, **how):
    return runs.run(*arguments(recipe, yaml, folder, prepared, options), cwd=TIMIT / recipe, **how)


def enhance(folder, prepared, options=(), **more):
    return train("enhancement", "blstm.yaml", folder, prepared, dict(options), **more)


def assess(folder, prepared, options=(), yaml="paper.yaml", **more):
    return train("quality", yaml, folder, prepared, dict(options), **more)


def weights(folder, name="enhancer"):
    return torch.load(Path(folder) / "pretrained" / f"{name}.ckpt", weights_only=True)


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def times(folder):
    return {path: path.stat().st_mtime_ns for path in Path(folder).rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, builtin_cache):
    """Both recipes prepare their sets in this folder, each once."""
    return tmp_path_factory.mktemp("prepared")


@pytest.fixture(scope="module")
def run(tmp_path_factory, prepared):
    """A run of the enhancer that was never interrupted: its folder, and what it printed."""
    folder = tmp_path_factory.mktemp("enhancement") / "run"
    return folder, succeeded(enhance(folder, prepared))


# ------------------------------------------------------------------------------------------------------- the enhancer


def test_what_a_run_leaves(run, prepared):
    folder, output = run
    assert len((folder / "train_log.txt").read_text().splitlines()) == 2
    assert (folder / "figures" / "example.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in (folder / "examples").iterdir()) == ["clean.wav", "enhanced.wav", "noisy.wav"]
    assert "synthetic" in output and "STOI" in output and str(folder / "pretrained") in output
    (manifest,) = prepared.glob("enhancement-*/train.csv")
    heard = SpeechEnhancer.from_hparams(folder / "pretrained", run_opts={"device": "cpu"}).hparams.heard
    assert {f"builtin-{row.speaker}" for row in read_rows(manifest, MixtureRow)} < set(heard["speakers"])
    states = [weights(folder), torch.load(next(folder.glob("save/CKPT*/enhancer.ckpt")), weights_only=True)]
    assert not same(*states), "the running average is exported, not the last weights"


def test_results_agree_with_the_exported_model(run, prepared, tmp_path):
    """The round trip: the figures are those of the model loaded from `pretrained`."""
    results = json.loads((run[0] / "results.json").read_text())
    (manifest,) = prepared.glob("enhancement-*/test.csv")
    rows = read_rows(manifest, JudgedRow)
    model = SpeechEnhancer.from_hparams(run[0] / "pretrained", run_opts={"device": "cpu"})
    figures = enhancement_evaluation.enhancement_metrics(
        enhancement_evaluation.evaluate(model, rows, tmp_path, num_workers=1)
    )
    assert set(figures) == {"unheard", "heard"} and set(figures["unheard"]["by_noise"]) == {
        "engine",
        "white",
        "street",
        "baby_cry",
    }
    for kind, groups in figures.items():
        for when, means in groups["overall"].items():
            assert results[kind]["overall"][when] == pytest.approx(means, abs=1e-3)
    assert results["compared_with"] == {} and "synthetic" in results["trained_on"]
    assert results["reached"]["error"] > 0 and results["seed"] == 1234


def test_a_killed_run_ends_with_the_same_weights(run, prepared, tmp_path):
    """Three batches an epoch: killed in the second, behind a checkpoint within it; draws of noise go on as well."""
    killed = enhance(tmp_path / "run", prepared, {"ckpt_interval_steps": 2}, kill_after=6)
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-3000:]
    assert not (tmp_path / "run" / "pretrained").exists()
    output = succeeded(enhance(tmp_path / "run", prepared, {"ckpt_interval_steps": 2}))
    assert "Going into epoch 1" not in output and "Going into epoch 2" in output
    assert same(weights(tmp_path / "run"), weights(run[0]))
    results = [json.loads((folder / "results.json").read_text()) for folder in (tmp_path / "run", run[0])]
    assert results[0] == results[1]


@pytest.mark.processes
def test_two_processes_train_test_and_export(run, prepared, tmp_path):
    """Each process trains on its half of the batches; the first one tests the whole set, exports and reports."""
    given = arguments("enhancement", "blstm.yaml", tmp_path / "run", prepared, {})
    options = ("--device=cpu", "--distributed_backend=gloo")
    for done in runs.run_processes(2, *given, *options, cwd=TIMIT / "enhancement"):
        succeeded(done)
    ours, theirs = (json.loads((folder / "results.json").read_text()) for folder in (tmp_path / "run", run[0]))
    for kind in ("unheard", "heard"):
        # The noisy files are the same; what is made of them is another model's.
        assert ours[kind]["overall"]["files"] == theirs[kind]["overall"]["files"]
        assert ours[kind]["overall"]["before"] == theirs[kind]["overall"]["before"]
    assert not same(weights(tmp_path / "run"), weights(run[0]))
    saved = [torch.load(path, weights_only=True) for path in tmp_path.glob("run/save/CKPT*/averaged.ckpt")]
    # Of the three batches of an epoch, each process has one.
    assert max(state["n_averaged"] for state in saved) == 2
    assert (tmp_path / "run" / "figures" / "example.png").is_file()


@pytest.mark.parametrize(
    "options, message",
    [
        (
            {"n_fft": 256, "hop_length": 128},
            "trained with n_fft=512 and hop_length=256",
        ),
        ({"hidden_size": 7}, "The model that start_from names does not fit this one: "),
        ({"start_from": "/nowhere"}, "There is no folder /nowhere"),
    ],
)
def test_starting_from_a_model_that_does_not_fit(run, prepared, tmp_path, options, message):
    start = {"start_from": str(run[0] / "pretrained")}
    one_message(enhance(tmp_path / "run", prepared, start | options), message)


def frozen(left):
    """The Quality-Net in a run is still the one that it was given, and was not to be trained."""
    brain = left["brain"]
    given = QualityNet.from_hparams(brain.hparams.quality_model).mods.state_dict()
    assert same(dict(brain.quality_net.mods.state_dict()), dict(given))
    assert not any(parameter.requires_grad for parameter in brain.quality_net.mods.parameters())
    print("the Quality-Net is as it was")


def test_fine_tuning_with_a_quality_net(run, prepared, pretrained, tmp_path):
    """The Quality-Net is frozen, the enhancer is not; both models stand in the results, with true and predicted."""
    options = {"start_from": str(run[0] / "pretrained"), "quality_model": str(pretrained)}
    before = times(pretrained)
    done = train("enhancement", "perceptual.yaml", tmp_path / "run", prepared, options, after=frozen)
    output = succeeded(done)
    assert "the Quality-Net is as it was" in output and times(pretrained) == before
    assert "Against start, unheard noises: true PESQ" in output
    assert not same(weights(tmp_path / "run"), weights(run[0]))
    ours, theirs = (json.loads((folder / "results.json").read_text()) for folder in (tmp_path / "run", run[0]))
    for kind in ("unheard", "heard"):
        start = ours["compared_with"]["start"][kind]["overall"]
        for when in ("before", "after"):
            expected = theirs[kind]["overall"][when]
            assert {name: start[when][name] for name in expected} == pytest.approx(expected, abs=1e-3)
            assert set(start[when]) == set(ours[kind]["overall"][when]) == {"pesq", "stoi", "predicted"}
    net = QualityNet.from_hparams(pretrained)
    (manifest,) = prepared.glob("enhancement-*/test.csv")
    rows = [row for row in read_rows(manifest, JudgedRow) if not row.heard]
    predicted = [report.score for _, report in net.assess_files([row.path for row in rows])]
    assert ours["unheard"]["overall"]["before"]["predicted"] == pytest.approx(sum(predicted) / len(rows), abs=1e-4)


# ------------------------------------------------------------------------------------- Quality-Net on enhanced speech


@pytest.fixture(scope="module")
def killed_stage(run, prepared, tmp_path_factory):
    """The first start of the paper's protocol, in which the enhancer's training was killed."""
    folder = tmp_path_factory.mktemp("recipe") / "enhancement"
    runs.copy_hparams(TIMIT / "enhancement", folder)
    # The stage runs this instead, which kills it in its second epoch.
    script = KILLED.format(
        steps=4, tests=str(Path(__file__).parents[1]), script=str(TIMIT / "enhancement" / "train.py")
    )
    (folder / "train.py").write_text(script)
    return assess(folder.parent / "run", prepared, {"enhancer_recipe": str(folder)}), folder.parent / "run"


@pytest.fixture(scope="module")
def paper(killed_stage, prepared):
    """The second start: its folder, and what it printed."""
    folder = killed_stage[1]
    return folder, succeeded(assess(folder, prepared))


@pytest.fixture(scope="module")
def stage(paper, prepared):
    """The folder of the enhancer's stage."""
    (folder,) = (path.parent for path in prepared.glob("enhancement-*/asked.json"))
    return folder


def test_a_stage_that_was_killed_is_told_of(killed_stage, prepared):
    done, _ = killed_stage
    assert "does not exist yet. It is trained first" in done.stdout + done.stderr
    one_message(done, f"ended with status {-signal.SIGKILL}")


def test_the_stages_run_in_order_by_themselves_and_say_so(paper):
    output = paper[1]
    # The stage's log goes to the same streams; each of these is said by one of the streams alone.
    assert output.index("It is trained first") < output.index("Preparing the sets in")
    assert output.index("enhanced: new speakers") < output.index("LCC")
    results = json.loads((paper[0] / "results.json").read_text())
    subsets = {name: group["utterances"] for name, group in results["by_subset"].items()}
    assert subsets == {"clean": 1, "noisy": 4, "enhanced": 4}
    assert results["overall"]["utterances"] == 9
    assert "the enhancer" not in results["trained_on"], "it has heard nothing of the test"


def test_every_key_is_read(run, paper):
    # Fine-tuning alone reads the Quality-Net.
    assert runs.unused_keys(TIMIT / "enhancement/hparams/blstm.yaml", run[0]) == {"quality_model"}
    assert runs.unused_keys(TIMIT / "quality/hparams/qnet.yaml", paper[0]) == set()


def test_the_papers_tables_can_be_made_of_a_run(paper, tmp_path):
    """What reproduce.py reads is what a run leaves."""
    results = json.loads((paper[0] / "results.json").read_text())
    assert results["train_utterances"] == 20
    runs = quality_results.Runs(tmp_path, tmp_path)
    for name in ("constraint", "no-constraint", "autoencoder-nn"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1").symlink_to(paper[0])
        runs.results[name, 1] = results
    assert f"{results['clean_frame_variance']:.4f}" in quality_results.table1(runs)
    found = quality_results.table2(runs, {"constraint": -3})
    assert all(f"{results['localization'][key]:.3f}" in found for key in ("auc", "auc_within", "clean_drop"))
    assert f"{results['overall']['lcc']:.4f} (0.8434)" in quality_results.table3(runs)
    assert "| (a) clean and noisy | 5 |" in quality_results.figure4(runs)
    assert (tmp_path / "figure4b.png").stat().st_size > 10000


def test_a_killed_stage_is_gone_on_from(paper, stage, run):
    """Nor does it prepare its sets again; it ends with the weights of the enhancer's own recipe, never interrupted."""
    assert "Using the sets in" in paper[1]
    stage_log = (stage / "log.txt").read_text()
    assert stage_log.count("Going into epoch 1") == 1 and stage_log.count("Going into epoch 2") == 2
    assert same(weights(stage), weights(run[0]))


def test_the_enhanced_files_are_made_by_the_stages_model(paper, stage, prepared):
    from speechtools import audio

    (sets,) = prepared.glob("quality-*")
    rows = {row.ID: row for row in read_rows(sets / "test.csv", QualityRow, check=True)}
    model = SpeechEnhancer.from_hparams(stage / "pretrained", run_opts={"device": "cpu"})
    for name, row in rows.items():
        if row.subset == "enhanced":
            expected = model.enhance_file(rows[name.replace("enhanced", "noisy")].path)
            assert abs(audio.read(row.path) - expected).max() < 1e-3
    with_enhancer = [{row.speaker for row in read_rows(next(prepared.glob("enhancement-*/train.csv")), MixtureRow)}]
    others = {row.speaker for split in quality_data.SPLITS for row in read_rows(sets / f"{split}.csv", QualityRow)}
    assert not with_enhancer[0] & others


def test_the_next_start_redoes_nothing(paper, stage, prepared):
    (sets,) = prepared.glob("quality-*")
    before = times(stage) | times(sets)
    output = succeeded(assess(paper[0], prepared))
    assert "trained first" not in output and "Going into epoch" not in output
    assert times(stage) | times(sets) == before


def test_the_two_stage_baseline_goes_on_after_a_kill(paper, stage, prepared, tmp_path):
    """Same sets, same enhancer; its features, learnt ahead of the run, are not learnt twice."""
    before = times(stage)
    baseline = {"yaml": "autoencoder_nn.yaml"}
    assert "trained first" not in succeeded(assess(tmp_path / "whole", prepared, **baseline))
    killed = assess(tmp_path / "run", prepared, kill_after=4, **baseline)
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-3000:]
    features = (tmp_path / "run" / "save" / "features.ckpt").stat().st_mtime_ns
    output = succeeded(assess(tmp_path / "run", prepared, **baseline))
    assert "Going into epoch 1" not in output
    assert (tmp_path / "run" / "save" / "features.ckpt").stat().st_mtime_ns == features
    assert same(weights(tmp_path / "run", "quality"), weights(tmp_path / "whole", "quality"))
    assert len(list(prepared.glob("quality-*"))) == 1 and times(stage) == before


def test_more_utterances_than_there_are(paper, prepared, tmp_path):
    one_message(
        assess(tmp_path / "run", prepared, {"num_train_utterances": 2000}),
        "num_train_utterances=2000, but the training set has 20 utterances. Give a smaller number",
    )


def test_an_enhancer_of_another_sample_rate(run, prepared, tmp_path):
    model = shutil.copytree(run[0] / "pretrained", tmp_path / "model")
    yaml = model / "hyperparams.yaml"
    yaml.write_text(yaml.read_text().replace("sample_rate: 16000", "sample_rate: 8000"))
    one_message(
        assess(tmp_path / "run", prepared, {"enhancer": str(model)}),
        "This SpeechEnhancer was trained at 8000 Hz, and the recipe has sample_rate=16000",
    )


def test_a_stage_that_cannot_be_trained(run, prepared, tmp_path):
    one_message(
        assess(tmp_path / "run", prepared, {"enhancer_recipe": "/nowhere"}),
        "/nowhere has no train.py",
    )
