"""A manifest is checked row by row: each bound that is broken is one message with the row; what is whole has none."""

import csv
import json

import numpy as np
import pytest
import soundfile

from speechtools import cli
from speechtools.cli import manifest_checks
from speechtools.core.errors import CorpusError
from speechtools.core.rows import write_rows
from speechtools.enhancement import data as enhancement_data
from speechtools.quality import data as quality_data
from speechtools.speaker import index as speaker_index

RATE = 16000


@pytest.fixture
def made(tmp_path, tone):
    """A whole manifest of each kind, by name: its path, columns and rows."""
    for name, seconds in (("clean", 1.0), ("noisy", 1.0), ("rain", 2.0)):
        soundfile.write(tmp_path / f"{name}.wav", tone(seconds), RATE)
    np.save(tmp_path / "a.npy", np.zeros(3000, np.int16))
    np.savez(tmp_path / "a.npz", np.zeros(3000, np.int16))
    clean, noisy, rain = (str(tmp_path / f"{name}.wav") for name in ("clean", "noisy", "rain"))
    noise = {"noise_type": "rain", "noise": rain, "snr_db": "6"}
    quality = {"duration": "1.000000", "speech": clean, "speaker": "anna"}
    mixture = {"duration": "1.000000", "speech": clean, "speaker": "anna", **noise, "seed": "7"}
    test = {"heard": "no", "path": noisy, "pesq": "2.5", "stoi": "0.8"}
    speech = {"path": clean, "shard": "a.npy", "samples": "1000", "duration": "0.0625"}
    rows = {
        "quality": [
            {"ID": "a", "path": clean, "pesq": "4.5", "subset": "clean", **dict.fromkeys(noise, ""), **quality},
            {"ID": "b", "path": noisy, "pesq": "2.1", "subset": "noisy", **noise, **quality},
        ],
        "enhancement": [{"ID": name, **mixture} for name in "ab"],
        "enhancement test": [{"ID": name, **mixture, **test} for name in "ab"],
        "speaker": [
            {"utt_id": f"u{number}", "speaker": speaker, "start": str(1000 * number), **speech}
            for number, speaker in enumerate(("anna", "anna", "bert"))
        ],
    }
    rows["keyword"] = [{**row, "keyword": "yes"} for row in rows["speaker"]]
    fields = {
        "quality": quality_data.FIELDS,
        "enhancement": enhancement_data.FIELDS["train"],
        "enhancement test": enhancement_data.FIELDS["test"],
        "speaker": speaker_index.FIELDS,
        "keyword": [*speaker_index.FIELDS, "keyword"],
    }
    paths = {kind: tmp_path / f"{kind.replace(' ', '-')}.csv" for kind in rows}
    for kind, path in paths.items():
        write_rows(path, fields[kind], rows[kind])
    return {kind: (paths[kind], fields[kind], rows[kind]) for kind in rows}


KINDS = ["quality", "enhancement", "enhancement test", "speaker", "keyword"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_manifest_has_no_messages(made, kind):
    path, _, rows = made[kind]
    assert manifest_checks.check_manifest(path) == (kind, len(rows), [])


def test_what_a_preparation_writes_holds(tmp_path, builtin_cache):
    """The check and the preparation agree on what a manifest of speech is."""
    from speechtools.speaker import data as speaker_data

    options = {"builtin": {"num_train_speakers": 4, "num_test_speakers": 2}}
    sets = speaker_data.prepare(save_folder=tmp_path, corpus_options=options, valid_share=0.5, num_workers=1)
    for path in sets.manifests.values():
        kind, count, messages = manifest_checks.check_manifest(path)
        assert kind == "speaker" and count > 0 and messages == []


@pytest.mark.parametrize(
    "kind, row, changes, said",
    [
        ("quality", 1, {"path": "/nowhere/b.wav"}, "row 3 (b): The audio file /nowhere/b.wav does not exist"),
        ("quality", 1, {"duration": "2.5"}, "row 3 (b): duration=2.5, but "),
        ("quality", 1, {"duration": "-1"}, "row 3 (b): duration=-1 must be above 0."),
        ("quality", 1, {"duration": "long"}, "row 3 (b): duration='long' is no number."),
        (
            "quality",
            1,
            {"pesq": "4.8"},
            "row 3 (b): pesq=4.8 lies outside every PESQ scale (raw_nb -0.5 to 4.5, nb 1.017 to 4.549, wb 1.043 to "
            "4.644); no about.json beside it tells which.",
        ),
        ("quality", 1, {"pesq": "nan"}, "row 3 (b): pesq=nan is not finite."),
        ("quality", 1, {"ID": "a"}, "row 3 (a): ID is that of row 2 too, and must tell them apart."),
        ("quality", 1, {"speaker": ""}, "row 3 (b): speaker is empty."),
        ("quality", 1, {"subset": "loud"}, "row 3 (b): subset='loud' is none of clean, noisy, enhanced."),
        ("quality", 1, {"snr_db": ""}, "row 3 (b): subset=noisy, but it has no noise_type or no snr_db."),
        ("quality", 1, {"snr_db": "600"}, "row 3 (b): snr_db=600 lies outside -100 to 100"),
        ("quality", 0, {"snr_db": "6"}, "row 2 (a): subset=clean, but it has a noise or snr_db."),
        ("enhancement", 1, {"noise": "/nowhere/rain.wav"}, "row 3 (b): noise=/nowhere/rain.wav does not exist."),
        ("enhancement", 1, {"speech": "/nowhere/a.wav"}, "row 3 (b): The audio file /nowhere/a.wav does not exist"),
        ("enhancement", 0, {"snr_db": "loud"}, "row 2 (a): snr_db='loud' is no number."),
        ("enhancement", 0, {"seed": "1.5"}, "row 2 (a): seed='1.5' is no whole number."),
        ("enhancement", 0, {"seed": "-1"}, "row 2 (a): seed=-1 is below 0"),
        ("enhancement test", 1, {"stoi": "1.2"}, "row 3 (b): stoi=1.2 lies outside -1 to 1, the range of STOI."),
        ("enhancement test", 1, {"heard": "maybe"}, "row 3 (b): heard='maybe' is neither yes nor no."),
        ("speaker", 2, {"shard": "b.npy"}, "row 4 (u2): shard="),
        (
            "speaker",
            2,
            {"start": "2500"},
            "start=2500 and samples=1000 reach beyond the 3000 samples that a.npy holds.",
        ),
        ("speaker", 2, {"start": 400 * "9"}, "row 4 (u2): start=99999999999999999999… is too large for any file."),
        ("speaker", 2, {"shard": "a.npz"}, "row 4 (u2): shard=a.npz holds no int16 samples."),
        ("speaker", 2, {"samples": "0"}, "row 4 (u2): samples=0 leaves nothing to hear."),
        ("speaker", 2, {"start": "-1"}, "row 4 (u2): start=-1 is below 0"),
        ("speaker", 2, {"duration": "0"}, "row 4 (u2): duration=0 must be above 0."),
        ("speaker", 2, {"utt_id": "u0"}, "row 4 (u0): utt_id is that of row 2 too"),
        ("speaker", 2, {"speaker": "anna"}, "all rows are of one speaker"),
        ("speaker", 2, {"shard": "clean.wav"}, "cannot be opened: it was cut short, or is no .npy file."),
        ("keyword", 1, {"keyword": " "}, "row 3 (u1): keyword is empty."),
    ],
)
def test_a_broken_bound_is_one_message(made, kind, row, changes, said):
    path, fields, rows = made[kind]
    rows[row].update(changes)
    write_rows(path, fields, rows)
    (message,) = manifest_checks.check_manifest(path)[2]
    assert said in message


def test_rows_of_a_speaker_stand_together(made):
    path, fields, rows = made["speaker"]
    write_rows(path, fields, [rows[0], rows[2], rows[1]])
    (message,) = manifest_checks.check_manifest(path)[2]
    assert message.startswith("row 4 (u1): speaker=anna stood above with others between")


def test_what_the_preparation_tells_is_held_against_the_rows(made, tmp_path):
    """The scale and the sample rate stand in about.json beside the manifest."""
    (tmp_path / "about.json").write_text(json.dumps({"scale": "nb", "sample_rate": 8000}))
    (message,) = manifest_checks.check_manifest(made["quality"][0])[2] or [""]
    assert message == ""
    path, fields, rows = made["quality"]
    rows[1]["pesq"] = "0.5"
    write_rows(path, fields, rows)
    (message,) = manifest_checks.check_manifest(path)[2]
    assert message == "row 3 (b): pesq=0.5 lies outside the scale nb 1.017 to 4.549."
    messages = manifest_checks.check_manifest(made["speaker"][0])[2]
    assert len(messages) == 3 and "1000 samples at 8000 Hz are 0.125 s" in messages[0]


@pytest.mark.parametrize("text", ["[1]", '"a"', "null", '{"scale": [1], "sample_rate": "x"}', "{"])
def test_what_tells_nothing_is_passed_over(made, tmp_path, text):
    (tmp_path / "about.json").write_text(text)
    for kind in ("quality", "speaker"):
        path = made[kind][0]
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())  # as some editors begin a file
        assert manifest_checks.check_manifest(path)[2] == []


def test_a_shard_of_other_numbers(made, tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((30, 100), np.int16))
    messages = manifest_checks.check_manifest(made["speaker"][0])[2]
    assert [message.partition(": ")[2] for message in messages] == 3 * ["shard=a.npy holds no int16 samples."]


def test_no_rows(made):
    path, fields, _ = made["quality"]
    write_rows(path, fields, [])
    assert manifest_checks.check_manifest(path)[2] == ["there are no rows, so there is nothing to train on."]


@pytest.mark.parametrize(
    "text, said",
    [
        ("a,b\n1,2\n", "has the columns a, b, which no kind of manifest has .* Mend the first row"),
        ("utt_id,speaker,path,duration,start\n", "It is nearest to speaker, and lacks shard, samples"),
        ("", "x.csv is empty. Give a manifest"),
        (b"\xff\xfe\x00", "is no CSV file"),
        ("utt_id,speaker,path,duration,shard,start,samples\na,b\n", "Row 2 .* has not as many cells as its header"),
    ],
)
def test_what_is_no_manifest(tmp_path, text, said):
    path = tmp_path / "x.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(CorpusError, match=said):
        manifest_checks.check_manifest(path)


def test_the_command_prints_a_line_for_each_and_status_1(made, capsys):
    path, fields, rows = made["quality"]
    assert cli.main(["check", str(path)]) == 0
    assert capsys.readouterr().out == f"{path}: 2 rows of a quality manifest hold.\n"
    rows[0]["pesq"], rows[1]["subset"] = "9", "loud"
    write_rows(path, fields, rows)
    assert cli.main(["check", str(path)]) == 1
    captured = capsys.readouterr()
    first, second = captured.err.splitlines()
    assert first.startswith(f"speechtools: {path}, row 2 (a): pesq=9 lies outside")
    assert second.startswith(f"speechtools: {path}, row 3 (b): subset='loud'")
    assert captured.out == f"{path}: 2 to mend.\n"


def test_other_columns_may_stand_beside_ours(made):
    path, fields, rows = made["speaker"]
    with open(path, newline="", encoding="utf-8") as file:
        assert next(csv.reader(file)) == fields
    write_rows(path, [*fields, "dialect"], [{**row, "dialect": "1"} for row in rows])
    assert manifest_checks.check_manifest(path) == ("speaker", 3, [])
