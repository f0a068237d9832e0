"""Quality-Net trains on recordings with labels of their own, such as mean opinion scores."""

import csv
import json
import shutil

import runs

from speechtools.core.rows import read_rows
from speechtools.corpora.builtin import builtin
from speechtools.inference import QualityNet
from speechtools.quality.data import QualityRow
from tests.recipes.test_recipes import QUALITY


def test_a_corpus_with_scores_is_trained_on_without_mixing(tmp_path, builtin_cache):
    utterances = list(builtin(num_train_speakers=5, num_test_speakers=6))[::4]
    (tmp_path / "mos").mkdir()
    with open(tmp_path / "mos" / "labels.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "score", "measure", "speaker", "split"])
        for number, utterance in enumerate(utterances):
            shutil.copy(utterance.path, tmp_path / "mos" / f"{number}.wav")
            score = 1 + number % 5 * 0.8
            writer.writerow([f"{number}.wav", score, "mos", utterance.speaker, utterance.split])
    options = ["--corpus=labelled", f"--data_folder={tmp_path / 'mos'}", "--labels=corpus", "--scale=mos"]
    sizes = ["--hidden_size=8", "--number_of_epochs=1", "--batch_size=8", "--noprogressbar"]
    folders = [f"--output_folder={tmp_path / 'run'}", f"--prepared_folder={tmp_path / 'prepared'}"]
    runs.succeeded(runs.run("hparams/qnet.yaml", *options, *sizes, *folders, cwd=QUALITY))
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["scale"] == "mos" and set(results["by_subset"]) == {"corpus"}
    assert results["trained_on"] == "labelled, labels of the corpus"
    (manifest,) = (tmp_path / "prepared").glob("quality-*/train.csv")
    rows = read_rows(manifest, QualityRow, check=True)
    assert {(row.measure, row.path.parent, row.path == row.speech) for row in rows} == {("mos", tmp_path / "mos", True)}
    report = QualityNet.from_hparams(tmp_path / "run" / "pretrained").assess_file(rows[0].path)
    assert report.scale == "mos"
