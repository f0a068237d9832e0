"""Commands on a Dask cluster."""

import importlib.util

import numpy as np
import pytest
import soundfile

from speechtools.cli.embed import read_dvectors
from speechtools.measures.labels import LabelJob, label

pytestmark = [
    pytest.mark.processes,
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="pip install '.[dask]'"),
]


@pytest.fixture(scope="module")
def address():
    """The scheduler of two workers in this process, where torch is imported already."""
    import distributed

    options = {"dashboard_address": None, "silence_logs": 60}
    with distributed.LocalCluster(2, threads_per_worker=1, processes=False, protocol="tcp://", **options) as local:
        yield local.scheduler_address


@pytest.fixture
def corpus(tmp_path, tone):
    (tmp_path / "corpus").mkdir()
    names = [f"{number}.wav" for number in range(9)]
    for number, name in enumerate(names):
        soundfile.write(tmp_path / "corpus" / name, tone(0.4 + 0.05 * number, seed=number), 16000)
    (tmp_path / "corpus" / "list.txt").write_text("\n".join([*names, "gone.wav"]))
    return tmp_path / "corpus" / "list.txt"


def test_the_results_of_a_cluster_are_those_of_one_process(call, address, corpus, pretrained, tmp_path, monkeypatch):
    monkeypatch.chdir(corpus.parent)
    options = ["score", "--list", "list.txt", "--model", pretrained, "--batch_size", "2", "--jsonl"]
    assert call(*options, tmp_path / "one.jsonl")[0] == 1
    status, output, errors = call(*options, tmp_path / "dask.jsonl", "--dask", address)
    assert status == 1 and "9 recordings scored" in output and errors.count("\n") == 1 and "gone.wav" in errors
    lines, others = (sorted((tmp_path / f"{name}.jsonl").read_text().splitlines()) for name in ("one", "dask"))
    assert lines[:9] == others[:9] and len(others) == 10
    assert "0 recordings scored" in call(*options, tmp_path / "dask.jsonl", "--dask", address, "--resume")[1]


def test_dvectors_of_a_cluster_are_those_of_one_process(call, address, corpus, tmp_path):
    options = ["embed", *sorted(corpus.parent.glob("*.wav")), "--out"]
    assert call(*options, tmp_path / "one.npz")[0] == 0
    assert call(*options, tmp_path / "dask.npz", "--dask", address)[0] == 0
    whole, others = (read_dvectors(tmp_path / f"{name}.npz")[0] for name in ("one", "dask"))
    assert whole.keys() == others.keys()
    for file, dvector in whole.items():
        np.testing.assert_array_equal(dvector, others[file])


def test_measures_of_a_cluster_are_those_of_one_process(call, address, corpus, tmp_path):
    options = ["score", "--list", corpus, "--reference", corpus, "--measures", "si-sdr,stoi", "--out"]
    assert call(*options, tmp_path / "one.csv")[0] == call(*options, tmp_path / "dask.csv", "--dask", address)[0] == 1
    table, other = ((tmp_path / f"{name}.csv").read_bytes() for name in ("one", "dask"))
    assert table == other and table.count(b"100.0") == 9


def test_labels_of_a_cluster_are_those_of_one_process(address, corpus, tmp_path):
    files = sorted(corpus.parent.glob("*.wav"))
    jobs = [LabelJob(path.stem, path, path) for path in [*files, tmp_path / "gone.wav"]]
    options = {"measure": "si-sdr", "progress": False}
    labels = label(jobs, tmp_path / "labels.csv", dask=address, **options)
    assert labels == {path.stem: 100.0 for path in files}
    assert "gone.wav" in (tmp_path / "rejected.csv").read_text()
    assert label(jobs, tmp_path / "labels.csv", **options) == labels  # from the journal


def test_what_a_cluster_cannot_do_is_refused(refused, corpus, tmp_path, monkeypatch):
    from speechtools.core import cluster

    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 0.5)
    address = ["--dask", "tcp://127.0.0.1:9"]
    assert "127.0.0.1:9" in refused("score", "--list", corpus, *address)
    assert "--dask" in refused("embed", "--list", corpus, "--out", tmp_path / "a.npz", *address)
    for option in (["--explain"], ["--png", tmp_path]):
        assert option[0] in refused("score", "--list", corpus, *address, *option)
