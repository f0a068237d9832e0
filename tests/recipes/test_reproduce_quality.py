"""recipes/TIMIT/quality/reproduce.py: the runs that it starts, and the tables and figures of their results."""

import importlib.util
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import runs as harness
import soundfile

from speechtools.core.errors import ConfigError, SpeechtoolsError
from speechtools.core.rows import write_rows
from speechtools.quality.evaluation import PredictedRow, quality_metrics
from tests.quality.test_data import quality_row

SCRIPT = Path(__file__).parents[2] / "recipes" / "TIMIT" / "quality" / "reproduce.py"
NUM_TRAIN = 40
LOCALIZATION = ("clean_drop", "noisy_drop", "auc", "auc_within")


@pytest.fixture(scope="module")
def reproduce():
    spec = importlib.util.spec_from_file_location("reproduce_quality", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Test rows of three utterances: clean, noisy and enhanced."""
    folder, rng = tmp_path_factory.mktemp("audio"), np.random.default_rng(0)
    soundfile.write(folder / "noise.wav", rng.uniform(-0.3, 0.3, 16000), 16000)
    rows = []
    for number in range(3):
        for subset in ("clean", "noisy", "enhanced"):
            path = folder / f"{subset}{number}.wav"
            soundfile.write(path, np.sin(np.arange(12000) / (5 + number)) * rng.uniform(0.1, 0.4), 16000)
            noisy = subset != "clean"
            noise = {"noise_type": "street", "noise": folder / "noise.wav", "snr_db": 0.0} if noisy else {}
            rows.append(quality_row(ID=path.stem, path=path, score=rng.uniform(1, 4), subset=subset, **noise))
    return rows


@pytest.fixture
def commands(reproduce, rows, pretrained, monkeypatch):
    """Replace every run by made-up results, and record its command by name and seed."""
    commands = {}

    def run_logged(folder, command, jobs, **_):
        name, seed = folder.parts[-2:]
        commands[name, int(seed)] = command
        rng = np.random.default_rng([len(name), int(seed)])
        predicted = rng.uniform(1, 4, len(rows))
        results = quality_metrics(predicted, [row.score for row in rows], rows, [0.1 + len(name)])
        located = None if name == "norm-limit" else {key: rng.uniform() for key in LOCALIZATION}
        result = results | {"trained_on": "tones", "train_utterances": NUM_TRAIN, "localization": located}
        predictions = [PredictedRow.of(row, score) for row, score in zip(rows, predicted, strict=True)]
        write_rows(folder / "predictions.csv", PredictedRow, predictions)
        shutil.copytree(pretrained, folder / "pretrained", dirs_exist_ok=True)
        return result

    monkeypatch.setattr(reproduce, "run_logged", run_logged)
    return commands


def reproduced(reproduce, folder, monkeypatch, *options):
    monkeypatch.setattr(sys, "argv", ["reproduce.py", f"--output_folder={folder}", *options])
    reproduce.main()
    return (folder / "RESULTS.md").read_text(encoding="utf-8")


def test_every_table_and_figure_is_written(reproduce, commands, tmp_path, monkeypatch, capsys):
    text = reproduced(reproduce, tmp_path, monkeypatch, "--quick", "--points=10,20,4000", "--hidden_size=8")
    for title in ("Table 1", "Table 2", "Table 3", "Figure 2", "Figure 3", "Figure 4", "Figure 5", "released code"):
        assert title in text
    for name in ("figure2", "figure3", "figure4a", "figure4b", "figure5"):
        assert f"({name}.png)" in text and (tmp_path / f"{name}.png").stat().st_size > 10000
    assert "Figure 5 has no point at 4000 utterances: the training set has 40." in capsys.readouterr().out
    both = {name for name, seed in commands if seed == 2}
    assert both == {"constraint", "no-constraint", "bias1", "autoencoder-nn"}, "what has a spread in the tables"
    single = {"utterances-10", "utterances-20", "frame-sum", *reproduce.OPTIONS}
    assert {name for name, _ in commands} - both == single
    assert all(("--hidden_size=8" in command) == (run != "autoencoder-nn") for (run, _), command in commands.items())
    assert {"--quality_name=autoencoder-nn", "--optimizer_name=Adam"} <= set(commands["autoencoder-nn", 1])
    assert "--alpha=0" in commands["no-constraint", 1] and "--forget_gate_bias=1" in commands["bias1", 2]
    assert "--num_train_utterances=10" in commands["utterances-10", 1]
    # A quarter of the utterances for four times as many epochs.
    assert (
        "--number_of_epochs=5" in commands["constraint", 1] and "--number_of_epochs=20" in commands["utterances-10", 1]
    )
    assert "--frame_reduction=mean" in commands["constraint", 1] and "--frame_reduction=sum" in commands["frame-sum", 1]
    kept = json.loads((tmp_path / "results.json").read_text())["runs"]
    assert {(run["run"], run["seed"]) for run in kept} == set(commands)


def test_the_tables_have_the_means_of_the_runs_and_the_values_of_the_paper(reproduce, commands, tmp_path, monkeypatch):
    text = reproduced(reproduce, tmp_path, monkeypatch, "--seeds=1,2,3", "--points=20")
    assert {name for name, seed in commands if seed == 1} == {name for name, seed in commands if seed == 3}
    assert (
        "--frame_reduction=sum" in commands["constraint", 1] and "--frame_reduction=mean" in commands["frame-mean", 2]
    )
    runs = json.loads((tmp_path / "results.json").read_text())["runs"]
    for name, paper in (("constraint", "0.8749"), ("no-constraint", "0.8559"), ("autoencoder-nn", "0.8434")):
        lcc = [run["overall"]["lcc"] for run in runs if run["run"] == name]
        assert len(lcc) == 3
        assert f"{np.mean(lcc):.4f} ± {np.std(lcc, ddof=1):.4f} ({paper})" in text
    values = [[run["localization"][key] for key in LOCALIZATION] for run in runs if run["run"] == "bias1"]
    means, deviations = np.mean(values, axis=0), np.std(values, axis=0, ddof=1)
    cells = " | ".join(f"{mean:.3f} ± {deviation:.3f}" for mean, deviation in zip(means, deviations, strict=True))
    assert f" | {cells} |\n" in text
    # A test without speech or noise for localization.
    assert re.search(r"recurrent weights of .* \| – \| – \|\n", text)
    # The made-up variances of the frame scores are 0.1 + the length of the run's name.
    assert f"{13.1 / 10.1:.1f} times" in text


def test_options_in_which_runs_differ_and_usage_errors_are_refused(reproduce, commands, tmp_path, monkeypatch, capsys):
    with pytest.raises(ConfigError, match="--batch_size"):
        reproduced(reproduce, tmp_path, monkeypatch, "--quick", "--batch_size=32")
    with pytest.raises(SystemExit, match="2"):
        reproduced(reproduce, tmp_path, monkeypatch, "--jobs=0")
    assert "--jobs" in capsys.readouterr().err and not commands


def test_the_error_of_a_failed_run_has_the_end_of_its_output(reproduce, tmp_path, monkeypatch):
    harness.copy_hparams(SCRIPT.parent, tmp_path)
    (tmp_path / "train.py").write_text("import sys; sys.exit('error: the corpus is gone')")
    monkeypatch.setattr(reproduce, "HERE", tmp_path)
    with pytest.raises(SpeechtoolsError, match="constraint/1 failed.*(?s:.)*error: the corpus is gone"):
        reproduced(reproduce, tmp_path / "paper", monkeypatch, "--quick")


#: A train.py whose first run finishes at once, while all others take long.
TRAIN = """
import json, os, pathlib, sys, time
from speechtools.core.processes import end_with_starter
end_with_starter()
folder = pathlib.Path(sys.argv[-1].removeprefix("--output_folder="))
if "/constraint/1" not in str(folder):
    (folder / str(os.getpid())).touch()
    time.sleep(60)
results = {"overall": {"lcc": 0.5, "mse": 1.0}, "train_utterances": 40}
(folder / "results.json").write_text(json.dumps(results))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_ctrl_c_ends_all_trainings_at_once(tmp_path):
    shutil.copy(SCRIPT, tmp_path)
    harness.copy_hparams(SCRIPT.parent, tmp_path)
    (tmp_path / "train.py").write_text(TRAIN)
    script = subprocess.Popen(
        [sys.executable, tmp_path / "reproduce.py", "--quick", "--jobs=2"],
        # A process that a shell started in the background ignores Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )

    def started():
        return [path.name for path in tmp_path.glob("results/paper-quick/runs/*/*/*") if path.name.isdigit()]

    def wait_until(condition):
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.1)

    try:
        wait_until(lambda: len(started()) == 2)
        script.send_signal(signal.SIGINT)
        assert script.wait(10) == -signal.SIGINT
    finally:
        script.kill()
    wait_until(lambda: not any(Path("/proc", pid).exists() for pid in started()))
    assert len(started()) == 2, "none was begun in their place"
