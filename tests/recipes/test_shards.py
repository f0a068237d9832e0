"""Quality-Net trains on tar shards; killed in the middle of an epoch, it ends with the same weights."""

import re
import shutil
import signal

import pytest
import runs

from speechtools import cli
from tests.recipes.small import QUALITY, results

pytest.importorskip("webdataset", reason="pip install '.[shards]'")

pytestmark = pytest.mark.timeout(400)  # the first test waits for two trainings
OPTIONS = ["--shuffle_buffer=20", "--ckpt_interval_steps=2", "--silence_share=0.3"]


@pytest.fixture(scope="module")
def shards(trained, tmp_path_factory):
    """A prepared folder and the pattern of the shards of its training set."""
    _, prepared, _ = trained(QUALITY)
    (sets,) = prepared.glob("quality-*")
    out = tmp_path_factory.mktemp("shards")
    assert cli.main(["shards", str(sets), str(out / "out"), "--shard_megabytes=0.4"]) == 0
    shutil.copytree(prepared, out / "prepared")
    return out / "prepared", f"{out}/out/train-*.tar"


@pytest.fixture(scope="module")
def undisturbed(shards, tmp_path_factory):
    prepared, pattern = shards
    folder = tmp_path_factory.mktemp("undisturbed")
    runs.succeeded(QUALITY.train(folder, prepared, f"--train_shards={pattern}", *OPTIONS))
    return folder


def test_shards_take_the_place_of_the_training_set(shards, undisturbed, trained):
    assert results(undisturbed)["overall"]["utterances"] == 18
    assert results(undisturbed)["trained_on"].endswith("trained on shards")
    assert not QUALITY.same_weights(undisturbed, trained(QUALITY)[0])
    made = [folder for folder in shards[0].glob("quality-*") if not (folder / "train.csv").exists()]
    assert len(made) == 1 and not list(made[0].glob("audio/train-*"))


@pytest.mark.parametrize("steps", [3, pytest.param(9, marks=pytest.mark.slow)])
def test_a_run_killed_within_an_epoch_ends_with_the_same_weights(steps, shards, undisturbed, tmp_path):
    prepared, pattern = shards
    options = [f"--train_shards={pattern}", *OPTIONS]
    killed = QUALITY.train(tmp_path, prepared, *options, kill_after=steps)
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-3000:]
    runs.succeeded(QUALITY.train(tmp_path, prepared, *options))
    assert QUALITY.same_weights(tmp_path, undisturbed)
    assert results(tmp_path) == results(undisturbed)


@pytest.mark.processes
@pytest.mark.slow
def test_two_processes_read_their_own_shards(shards, tmp_path):
    prepared, pattern = shards
    arguments = QUALITY.arguments(tmp_path, prepared, f"--train_shards={pattern}", *OPTIONS)
    done = runs.run_processes(2, *arguments, "--distributed_backend=gloo", "--device=cpu", cwd=QUALITY.folder)
    for process in done:
        runs.succeeded(process)
    assert results(tmp_path)["overall"]["utterances"] == 18


def test_mistakes_are_one_message(shards, tmp_path):
    prepared, _ = shards
    train = [tmp_path / "run", prepared]
    runs.one_message(QUALITY.train(*train, "--train_shards=/nowhere/{0..3}.tar"), "/nowhere/0.tar does not exist")
    first = sorted((prepared.parent / "out").glob("*.tar"))[0]
    (tmp_path / "cut.tar").write_bytes(first.read_bytes()[:100_000])
    runs.one_message(QUALITY.train(*train, f"--train_shards={tmp_path}/cut.tar"), "cut.tar is truncated")
    shutil.copy(first.with_suffix(".csv"), tmp_path / "cut.csv")
    done = QUALITY.train(*train, f"--train_shards={tmp_path}/cut.tar")
    runs.one_message(done, "cut.tar is truncated")
    assert re.search("Going into epoch 1", done.stdout + done.stderr)
