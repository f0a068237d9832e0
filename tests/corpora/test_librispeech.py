"""The reader corpus/librispeech."""

from tests.corpora.layouts import by_id, make, read


def test_a_single_kind_of_subset_is_not_divided_and_transcripts_may_be_missing(tmp_path):
    make("librispeech", tmp_path)
    whole = by_id("librispeech", tmp_path)
    folder = tmp_path / "LibriSpeech" / "dev-clean"
    subset = read("librispeech", folder)
    assert len(subset) == 2 and all(u.split == "" and u.text == whole[u.utt_id].text for u in subset)
    next(folder.rglob("*.trans.txt")).unlink()
    assert {u.text for u in read("librispeech", folder)} == {None}
