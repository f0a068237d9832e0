"""recipes/TIMIT/enhancement: its metrics, fine-tuning, mistakes, and two processes."""

import pytest
import runs
import torch

from speechtools.core.rows import read_rows
from speechtools.enhancement import evaluation
from speechtools.enhancement.data import JudgedRow, MixtureRow
from speechtools.inference import QualityNet, SpeechEnhancer
from tests.recipes.small import ENHANCEMENT, results


@pytest.fixture
def run(trained):
    return trained(ENHANCEMENT)


@pytest.fixture
def rows(run):
    (manifest,) = run[1].glob("enhancement-*/test.csv")
    return read_rows(manifest, JudgedRow)


def test_results_agree_with_the_exported_model(run, rows, tmp_path):
    """The round trip: the metrics are those of the model loaded from `pretrained`, which lists its speakers."""
    folder, prepared, output = run
    assert "STOI" in output
    assert sorted(path.name for path in (folder / "examples").iterdir()) == ["clean.wav", "enhanced.wav", "noisy.wav"]
    model = SpeechEnhancer.from_hparams(folder / "pretrained", run_opts={"device": "cpu"})
    (manifest,) = prepared.glob("enhancement-*/train.csv")
    heard = {f"builtin-{row.speaker}" for row in read_rows(manifest, MixtureRow)}
    assert heard < set(model.facts["heard"]["speakers"])
    judged = evaluation.evaluate(model, rows, tmp_path, num_workers=1)
    metrics, saved = evaluation.enhancement_metrics(judged), results(folder)
    assert set(metrics) == {"unheard", "heard"}
    assert set(metrics["unheard"]["by_noise"]) == {"engine", "white", "street", "baby_cry"}
    for kind, groups in metrics.items():
        for when, means in groups["overall"].items():
            assert saved[kind]["overall"][when] == pytest.approx(means, abs=1e-3)
    assert saved["compared_with"] == {} and saved["reached"]["error"] > 0 and saved["seed"] == 1234


@pytest.mark.processes
def test_two_processes_train_test_and_export(run, tmp_path):
    """Each process trains on its half of the batches; the first one tests the whole set, exports and reports."""
    arguments = ENHANCEMENT.arguments(tmp_path / "run", run[1], "--device=cpu", "--distributed_backend=gloo")
    for done in runs.run_processes(2, *arguments, cwd=ENHANCEMENT.folder):
        runs.succeeded(done)
    for kind in ("unheard", "heard"):
        # The noisy files are the same; what is made of them is another model's.
        one, other = (results(folder)[kind]["overall"] for folder in (tmp_path / "run", run[0]))
        assert one["files"] == other["files"] and one["before"] == other["before"]
    assert not ENHANCEMENT.same_weights(tmp_path / "run", run[0])
    saved = [torch.load(path, weights_only=True) for path in tmp_path.glob("run/save/CKPT*/averaged.ckpt")]
    # Of the three batches of an epoch, each process has one.
    assert max(state["n_averaged"] for state in saved) == 2


@pytest.mark.parametrize(
    "options, message",
    [
        (["--n_fft=256", "--hop_length=128"], "trained with n_fft=512 and hop_length=256"),
        (["--hidden_size=7"], "The model that start_from names does not fit this one: "),
        (["--start_from=/nowhere"], "folder /nowhere does not exist"),
        (["--start_from=", "--quality_weight=0.1"], "start_from names none"),
    ],
)
def test_starting_from_a_model_that_does_not_fit(run, tmp_path, options, message):
    start = [] if any("start_from" in option for option in options) else [f"--start_from={run[0] / 'pretrained'}"]
    runs.one_message(ENHANCEMENT.train(tmp_path / "run", run[1], *start, *options), message)


def quality_net_is_frozen(left):
    """The Quality-Net of a run has the weights of its folder, and none is trained."""
    brain = left["brain"]
    expected = QualityNet.from_hparams(brain.hparams.quality_model).mods.state_dict()
    for name, value in brain.quality_net.mods.state_dict().items():
        assert torch.equal(value, expected[name])
    assert not any(parameter.requires_grad for parameter in brain.quality_net.mods.parameters())
    print("the Quality-Net is unchanged")


def test_fine_tuning_with_a_quality_net(run, rows, pretrained, tmp_path):
    """The Quality-Net is frozen, the enhancer is not; the results have both models, with true and predicted PESQ."""
    options = (f"--start_from={run[0] / 'pretrained'}", f"--quality_model={pretrained}")
    how = {"yaml": "hparams/perceptual.yaml", "after": quality_net_is_frozen}
    output = runs.succeeded(ENHANCEMENT.train(tmp_path / "run", run[1], *options, **how))
    assert "the Quality-Net is unchanged" in output and "Against start, unheard noises: true PESQ" in output
    assert not ENHANCEMENT.same_weights(tmp_path / "run", run[0])
    tuned, first = results(tmp_path / "run"), results(run[0])
    for kind in ("unheard", "heard"):
        start = tuned["compared_with"]["start"][kind]["overall"]
        for when in ("before", "after"):
            expected = first[kind]["overall"][when]
            assert {name: start[when][name] for name in expected} == pytest.approx(expected, abs=1e-3)
            assert set(start[when]) == set(tuned[kind]["overall"][when]) == {"pesq", "stoi", "predicted"}
    unheard = [row.path for row in rows if not row.heard]
    predicted = [report.score for _, report in QualityNet.from_hparams(pretrained).assess_files(unheard)]
    mean = sum(predicted) / len(unheard)
    assert tuned["unheard"]["overall"]["before"]["predicted"] == pytest.approx(mean, abs=1e-4)
