"""The reader corpus/voxceleb."""

import pytest

from speechtools.core.errors import CorpusError
from tests.corpora.layouts import by_id, make_voxceleb, put, put_text, read


def test_ids_are_those_of_the_published_lists(tmp_path):
    from speechtools.speaker.trials import read_trials

    make_voxceleb(tmp_path / "voxceleb1")
    utterances = by_id("voxceleb", tmp_path)
    assert "id10270-5r0dWxy17C8-00001" in utterances and {u.text for u in utterances.values()} == {None}
    (tmp_path / "veri.txt").write_text(
        "1 id10270/5r0dWxy17C8/00001.wav id10270/5r0dWxy17C8/00002.wav\n"
        "0 id10270/5r0dWxy17C8/00001.wav id10002/-x_9uCPMKiA/00002.wav\n"
    )
    trials = read_trials(tmp_path / "veri.txt", list(utterances))
    speakers = [u.speaker for u in utterances.values()]
    assert [speakers[test] for test in trials.tests] == ["id10270", "id10002"]


@pytest.mark.parametrize("level", ["", "wav/"])
@pytest.mark.parametrize("train, test", [("dev", "test"), ("train", "Test"), ("vox1_dev_wav", "vox1_test_wav")])
def test_names_of_the_halves(level, train, test, tmp_path):
    put(tmp_path / f"{train}/{level}id10001/aB/00001.wav")
    put(tmp_path / f"{test}/{level}id10270/Ab/00001.wav")
    splits = {u.utt_id: u.split for u in read("voxceleb", tmp_path)}
    assert splits == {"id10001-aB-00001": "train", "id10270-Ab-00001": "test"}


@pytest.mark.parametrize("subfolder", ["dev", "dev/wav", "test/wav/id10270"])
def test_a_subfolder_is_not_divided(subfolder, tmp_path):
    make_voxceleb(tmp_path)
    utterances, whole = read("voxceleb", tmp_path / subfolder), by_id("voxceleb", tmp_path)
    assert {u.path for u in utterances} == set((tmp_path / subfolder).rglob("*.wav"))
    assert all(u.split == "" and whole[u.utt_id].speaker == u.speaker for u in utterances)


def test_videos_whose_names_differ_only_in_case(tmp_path):
    put(tmp_path / "id10001" / "aBc" / "00001.wav")
    put(tmp_path / "id10001" / "AbC" / "00001.wav")
    assert list(by_id("voxceleb", tmp_path)) == ["id10001-AbC-00001", "id10001-aBc-00001"]


def test_every_m4a_must_be_converted(tmp_path):
    original = tmp_path / "dev" / "aac" / "id00012" / "21Uxsk56VDQ"
    put_text(original / "00001.m4a", "no audio")
    put_text(original / "00002.m4a", "no audio")
    with pytest.raises(CorpusError, match=r"2 of 2 .*00001\.m4a"):
        read("voxceleb", tmp_path)
    put(original / "00001.wav")
    with pytest.raises(CorpusError, match=r"1 of 2 .*00002\.m4a"):
        read("voxceleb", tmp_path)
    put(tmp_path / "dev" / "wav" / "id00012" / "21Uxsk56VDQ" / "00002.flac")
    assert list(by_id("voxceleb", tmp_path)) == ["id00012-21Uxsk56VDQ-00001", "id00012-21Uxsk56VDQ-00002"]
