"""Words that no command accepts, outputs that cannot be written, devices and models: one clear message for each."""

import os

import pytest
import soundfile

from speechtools.audio import ffmpeg

COMMANDS = [
    "score",
    "enhance",
    "embed",
    "enroll",
    "verify",
    "identify",
    "voices list",
    "voices remove",
    "voices rename",
    "trials",
    "list",
    "show",
    "check plugin",
    "check recipe",
    "check manifest",
    "new recipe",
    "new plugin",
]


@pytest.fixture
def recording(tone, tmp_path, monkeypatch):
    """A recording in the current folder, which begins with a dash."""
    monkeypatch.chdir(tmp_path)
    soundfile.write("./-dash.wav", tone(1.0), 16000)
    return "-dash.wav"


@pytest.fixture
def misused(call):
    """Run ``speechtools`` with wrong usage, and return the message after the line of the usage."""

    def run(*arguments):
        status, output, error = call(*arguments)
        usage, message = error.splitlines()
        assert status == 2 and not output and usage.startswith("Usage: ") and message.startswith("speechtools: ")
        return message

    return run


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_every_command_is_whole(call, command):
    status, output, errors = call(*command.split(), "--help")
    assert status == 0 and not errors and f"Usage: speechtools {command} [OPTIONS]" in output
    assert " TEXT " not in output and "RANGE" not in output  # words of click, which say nothing
    for line in output.partition("\nExamples:\n")[2].splitlines():
        assert f"speechtools {command}" in line and line.startswith("  ")


@pytest.mark.parametrize("command", ["score", "embed --out x.npz", "identify --voices v.npz", "verify a.wav"])
def test_a_file_that_begins_with_a_dash(misused, recording, command):
    message = misused(*command.split(), recording)
    assert f"./{recording}" in message and " -- " in message


def test_a_file_that_begins_with_a_dash_works_with_a_prefix(call, recording, pretrained):
    for words in (["--", recording], [f"./{recording}"]):
        status, output, _ = call("score", "--model", pretrained, *words)
        assert status == 0 and output.endswith(f"\t{recording}\n")
    assert "Did you mean '--csv'" in call("score", recording[1:], "--cvs=x.csv")[2]


@pytest.mark.parametrize("command", COMMANDS)
def test_an_empty_word_is_refused(misused, command):
    options = {"embed": ["--out=x"], "enroll": ["--voices=x"], "identify": ["--voices=x"]}.get(command, [])
    if command.startswith("voices"):
        options = ["--voices=x"]
    words = {"verify": ["a.wav", ""], "enhance": ["", "b.wav"], "voices rename": ["anna", ""]}
    if command == "voices list":
        pytest.skip("takes no words")
    assert "is empty" in misused(*command.split(), *words.get(command, [""]), *options)


@pytest.mark.parametrize(
    "words",
    [
        "score a.wav --below=-inf",
        "score a.wav --batch_size=-1",
        "score a.wav --batch_size=1.5",
        "verify a.wav b.wav --threshold=nan",
        "identify a.wav --voices=v.npz --threshold=inf",
        "identify a.wav --voices=v.npz --top=0",
        "identify a.wav --voices=v.npz --batch_size=0",
        "trials list.txt --p_target=nan",
        "trials list.txt --p_target=1",
        "trials list.txt --batch_size=0",
        "score a.wav --channel=-1",
        "enhance a.wav b.wav --channel=1e3",
        "score a.wav --model=",
        "score a.wav --device=",
        "embed a.wav --out=",
        "enroll anna a.wav --voices=",
        "trials list.txt --root=",
        "new plugin encoder/my-net --folder=",
        "check plugin encoder/lstm --module=",
    ],
)
def test_a_wrong_value_names_its_option(misused, words):
    option = words.split()[-1].partition("=")[0]
    assert f"'{option}'" in misused(*words.split())


def test_options_are_found_with_hyphens_too(misused):
    assert "'--batch_size'" in misused("score", "a.wav", "--batch-size=0")


def test_superfluous_words_are_counted_and_not_all_listed(misused):
    message = misused("enhance", *(f"{number}.wav" for number in range(10_000)))
    assert "9998 arguments" in message and len(message) < 300 and "enhance --help" in message
    assert "quote" in misused("verify", "my", "recording.wav", "other.wav").lower()


def test_a_character_that_no_name_has(misused):
    assert "NUL" in misused("score", "a\0b.wav") and "NUL" in misused("score", "a.wav", "--csv", "a\0b.csv")


def test_ten_thousand_recordings_and_strange_names(call, recording, pretrained):
    names = [f"{number}.wav" for number in range(10_000)]
    strange = ["x" * 300 + ".wav", "new\nline.wav", os.fsdecode(b"bad\xff.wav"), "\x1b[2J.wav", "."]
    words = ["--model", pretrained, f"./{recording}", f"././{recording}", *names, *strange]
    status, output, errors = call("score", *words)
    assert status == 1 and output.endswith(f"\t{recording}\n") and output.count("\n") == 1
    assert errors.count("\n") == len(names) + len(strange) - 1  # the folder contains the recording
    assert "too long" in errors and "\x1b" not in errors and "new\\nline" in errors and "Traceback" not in errors


def test_folders_without_recordings(call, refused, recording, pretrained, monkeypatch):
    monkeypatch.setattr(ffmpeg, "is_available", lambda: False)
    for folder in ("text", "phone"):
        os.mkdir(folder)
    for name in ("text/notes.txt", "phone/memo.m4a"):
        with open(name, "w") as stream:
            stream.write("text")
    assert "contains no audio file" in refused("score", "text")
    assert "ffmpeg" in refused("score", "phone") and "memo.m4a" in refused("score", "phone", "text")
    status, output, errors = call("score", "--model", pretrained, f"./{recording}", "text", "phone")
    assert status == 1 and output.endswith(f"\t{recording}\n") and errors.count("contains no audio file") == 2


@pytest.mark.parametrize(
    "words",
    [
        "score {0} --csv {0}/x.csv",
        "score {0} --jsonl {0}/x.jsonl",
        "score {0} --png plot.png",
        "score {0} --png {0}/plots",
        "score {0} --csv {1}",
        "embed {0} --out {0}/x.npz",
        "embed {0} --out {1}",
        "enhance {0} {0}/x.wav",
        "enhance {0} {1}.wav",
        "enroll anna {0} --voices {0}/v.npz",
    ],
)
def test_an_output_that_cannot_be_written_is_refused_before_the_work(refused, recording, words, monkeypatch):
    monkeypatch.setattr("speechtools.cli.common.load_model", None)
    message = refused(*words.format(f"./{recording}", "x" * 300).split())
    assert "not a folder" in message or "name of a folder" in message or "too long" in message
    assert os.listdir() == [recording]


@pytest.mark.parametrize("words", ["score --csv", "score --jsonl", "embed --out", "enroll anna --voices"])
def test_a_forgotten_name_of_an_output_replaces_no_recording(refused, recording, words):
    content = open(recording, "rb").read()
    for overwrite in ([], ["--overwrite"]):
        assert "is a recording" in refused(*words.split(), f"./{recording}", "other.wav", *overwrite)
    assert open(recording, "rb").read() == content


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_an_output_without_permission(refused, recording, tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    assert "permissions" in refused("score", f"./{recording}", "--csv", "closed/scores.csv")


def test_missing_folders_of_an_output_are_created(call, recording, pretrained):
    words = ["--csv", "new/folder/scores.csv", "--png", "new/plots"]
    assert call("score", f"./{recording}", "--model", pretrained, *words)[0] == 0
    assert os.path.isfile("new/folder/scores.csv") and os.listdir("new/plots") == ["-dash.png"]


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "cpu:1", "meta", "cuda:", "0"])
@pytest.mark.parametrize("command", ["score {}", "enhance {} out.wav", "embed {} --out x.npz", "verify {0} {0}"])
def test_a_device_that_does_not_exist(refused, recording, command, device):
    message = refused(*command.format(f"./{recording}").split(), "--device", device)
    assert f"--device={device}" in message and "This machine has cpu" in message


@pytest.mark.parametrize(
    ("words", "command"),
    [
        ("score {} --model=enhancer", "speechtools enhance"),
        ("embed {} --model=quality-net --out=x.npz", "speechtools score"),
        ("enhance {} out.wav --model=speaker", "speechtools embed"),
        ("verify {0} {0} --model=enhancer", "speechtools enhance"),
    ],
)
def test_a_model_of_another_kind_names_its_command(refused, recording, words, command):
    assert f"`{command}`" in refused(*words.format(f"./{recording}").split())


@pytest.mark.parametrize("pattern", ["enc*", "encoder/", "encoder", "*/lstm*", "encoder/*"])
def test_forms_of_a_pattern(call, pattern):
    status, output, _ = call("list", pattern)
    assert status == 0 and "encoder/lstmp" in output and "vad/" not in output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("list lstm", "Did you mean 'encoder/lstm'?"),
        ("list /", "kind is empty"),
        ("list xyz*", "Kinds: "),
        ("check plugin /x", "Write kind/name"),
        ("show x/", "Write kind/name"),
        ("new plugin encodr/mine", "'encoder/mine'"),
        ("new plugin pooling/mine", "--new_kind"),
    ],
)
def test_names_of_plugins(refused, words, message):
    assert message in refused(*words.split())
