"""Lists of recordings and their shards."""

import pytest

from speechtools.core.errors import ConfigError
from speechtools.core.lists import Shard, divide, read_list


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_paths_start_at_the_folder_of_the_list(tmp_path):
    (tmp_path / "lists").mkdir()
    text = "\ufeffa b.wav\r\n\n../x/./c.wav \n/data/d.wav"
    entries = read_list(write(tmp_path / "lists" / "corpus.txt", text))
    assert [name for name, _ in entries] == ["a b.wav", "../x/c.wav", "/data/d.wav"]
    folder = str(tmp_path / "lists")
    assert [path for _, path in entries] == [f"{folder}/a b.wav", f"{folder}/../x/c.wav", "/data/d.wav"]


def test_a_list_of_kaldi_has_ids(tmp_path):
    entries = read_list(write(tmp_path / "wav.scp", "u1 \t one file.wav\nu2 /data/2.flac\n"))
    assert entries == [("u1", str(tmp_path / "one file.wav")), ("u2", "/data/2.flac")]


def test_a_name_of_any_encoding_is_that_of_the_file(tmp_path):
    (entry,) = read_list(write(tmp_path / "corpus.txt", b"caf\xe9.wav\n"))
    assert entry.path.encode("utf-8", "surrogateescape").endswith(b"caf\xe9.wav")


@pytest.mark.parametrize(
    "name, content, expected",
    [
        ("corpus.txt", "\n \n", "is empty"),
        ("wav.scp", "", "<id> <path>"),
        ("wav.scp", "u1 a.wav\nu2", "line 2 .*an id without a path"),
        ("wav.scp", "u1 a.wav\nu1 b.wav", "lines 1 and 2 .*'u1'"),
        ("wav.scp", "u1 a.wav\nu2 ./a.wav", "lines 1 and 2 .*a.wav"),
        ("corpus.txt", "a.wav\n\nx/../a.wav", "lines 1 and 3 .*a.wav"),
        ("wav.scp", "u1 sph2pipe a.sph |", "command"),
        ("wav.scp", "u1 feats.ark:17", "archive"),
        ("corpus.txt", "RIFF\0\0", "not a text file"),
    ],
)
def test_a_wrong_list_is_refused_with_the_line(tmp_path, name, content, expected):
    with pytest.raises(ConfigError, match=f"--list.*{expected}"):
        read_list(write(tmp_path / name, content))


def test_a_list_that_is_missing_or_a_folder_is_refused(tmp_path):
    for path, reason in ((tmp_path / "gone.txt", "does not exist"), (tmp_path, "is a folder")):
        with pytest.raises(ConfigError, match=reason):
            read_list(path)


@pytest.mark.parametrize(
    "text", ["0/4", "5/4", "1/0", "x/y", "3", "1/2/3", "-1/4", "1.0/2", "", "1/99999999999", "²/3"]
)
def test_a_shard_that_does_not_exist_is_refused(text):
    with pytest.raises(ConfigError, match="--shard"):
        Shard.parse(text)


@pytest.mark.parametrize("count", [1, 3, 16])
def test_every_block_is_in_one_shard_and_sizes_differ_by_one_at_most(count):
    blocks = list(divide(range(103), 10))
    shards = [Shard.parse(f"{number}/{count}").of(blocks) for number in range(1, count + 1)]
    assert sorted(item for shard in shards for block in shard for item in block) == list(range(103))
    assert all(list(shard) == sorted(shard, key=min) for shard in shards)
    sizes = [len(shard) for shard in shards]
    assert max(sizes) - min(sizes) <= 1
