"""The reader corpus/voxceleb."""

import pytest

from speechtools.core.errors import CorpusError
from tests.corpora.layouts import by_id, make, put, put_text, read


def test_published_lists_of_trials_name_the_utterances(tmp_path):
    from speechtools.speaker.trials import read_trials

    make("voxceleb", tmp_path / "voxceleb1")
    utterances = read("voxceleb", tmp_path)
    first, same, other = "id10270/5r0dWxy17C8/00001", "id10270/5r0dWxy17C8/00002", "id10002/-x_9uCP/00002"
    put_text(tmp_path / "veri.txt", f"1 {first}.wav {same}.wav\n0 {first}.wav {other}.wav\n")
    trials = read_trials(tmp_path / "veri.txt", [u.utt_id for u in utterances])
    assert [utterances[test].speaker for test in trials.tests] == ["id10270", "id10002"]


@pytest.mark.parametrize("train, test", [("dev", "test/wav"), ("train", "Test"), ("vox1_dev_wav/wav", "vox1_test_wav")])
def test_names_of_the_halves(train, test, tmp_path):
    put(tmp_path / f"{train}/id10001/aB/00001.wav")
    put(tmp_path / f"{test}/id10270/Ab/00001.wav")
    splits = {u.utt_id: u.split for u in read("voxceleb", tmp_path)}
    assert splits == {"id10001-aB-00001": "train", "id10270-Ab-00001": "test"}


@pytest.mark.parametrize("subfolder", ["dev/wav", "test/wav/id10270"])
def test_a_subfolder_is_not_divided(subfolder, tmp_path):
    make("voxceleb", tmp_path)
    utterances, whole = read("voxceleb", tmp_path / subfolder), by_id("voxceleb", tmp_path)
    assert {u.path for u in utterances} == set((tmp_path / subfolder).rglob("*.wav"))
    assert all(u.split == "" and whole[u.utt_id].speaker == u.speaker for u in utterances)


def test_every_m4a_must_be_converted(tmp_path):
    original = tmp_path / "dev" / "aac" / "id00012" / "21Uxsk56VDQ"
    for name in ("00001.m4a", "00002.m4a"):
        put_text(original / name, "no audio")
    put(original / "00001.wav")
    with pytest.raises(CorpusError, match=r"1 of 2 .*00002\.m4a"):
        read("voxceleb", tmp_path)
    put(tmp_path / "dev" / "wav" / "id00012" / "21Uxsk56VDQ" / "00002.flac")
    assert list(by_id("voxceleb", tmp_path)) == ["id00012-21Uxsk56VDQ-00001", "id00012-21Uxsk56VDQ-00002"]
