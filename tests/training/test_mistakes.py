"""Typical mistakes, in a yaml and on the command line: each gets one message, with the nearest spelling and the place.

The recipes' own scripts run here, in this process, until they meet the mistake.
"""

import os
import re
import runpy
import shlex
import shutil
import sys
from pathlib import Path

import pytest
import runs
import torch

from speechtools import cli, training
from speechtools.core.errors import ConfigError, SpeechtoolsError
from speechtools.training import options

RECIPES = Path(__file__).parents[2] / "recipes"
YAMLS = {
    "TI-SV/GE2E": "hparams/ge2e.yaml",
    "keyword/GE2E": "hparams/multireader.yaml",
    "TIMIT/quality": "hparams/qnet.yaml",
    "TIMIT/enhancement": "hparams/blstm.yaml",
}


def in_words(value):
    """Names a case by what is typed."""
    return "" if isinstance(value, str) else " ".join(value)


@pytest.fixture
def message(tmp_path, monkeypatch):
    """What ``python train.py …`` says: ``message(recipe, *words)``, the yaml put first where none is given."""

    def said(recipe, *words):
        if not words[0].startswith("hparams") and not words[0].endswith(".yaml"):
            words = (YAMLS[recipe], *words)
        places = [f"--output_folder={tmp_path}/run", f"--prepared_folder={tmp_path}/prepared"]
        monkeypatch.chdir(RECIPES / recipe)
        monkeypatch.setattr(sys, "argv", ["train.py", *words, *places])
        monkeypatch.setattr(sys, "excepthook", sys.excepthook)
        monkeypatch.setattr(
            training.sb, "create_experiment_directory", lambda folder, **_: folder.mkdir(parents=True, exist_ok=True)
        )
        with pytest.raises(SpeechtoolsError, match=".") as caught:
            runpy.run_path("train.py", run_name="__main__")
        text = str(caught.value)
        assert "\n" not in text and "Traceback" not in text, "one message is one line"
        return text

    return said


# ------------------------------------------------------------------------------------------------ on the command line

#: recipe, what is typed after train.py, what the message must hold
COMMAND_LINE = [
    # names
    ("TI-SV/GE2E", ["--loss_nam=te2e"], "--loss_nam is no option of ge2e.yaml. Did you mean --loss_name?"),
    ("TI-SV/GE2E", ["--devise=cpu"], "--devise is no option of ge2e.yaml. Did you mean --device?"),
    ("TIMIT/quality", ["--batchsize=4"], "Did you mean --batch_size?"),
    ("TIMIT/quality", ["--xyzzy=4"], "--xyzzy is no option of qnet.yaml. It has: name, seed,"),
    ("TI-SV/GE2E", ["--encoder_name=lstmm"], "'encoder/lstmm'. Did you mean 'encoder/lstm'?"),
    ("TI-SV/GE2E", ["--loss_name=ge2e"], "'speaker-loss/ge2e'. Did you mean 'speaker-loss/ge2e-"),
    ("TIMIT/quality", ["--quality_name=lstm"], "Did you mean 'quality/blstm'? The kind 'quality' has:"),
    ("TIMIT/quality", ["--quality_name=te2e"], "'quality/te2e'"),
    ("TIMIT/enhancement", ["--enhancer_name=blsm"], "Did you mean 'enhancer/blstm'?"),
    ("TI-SV/GE2E", ["--features_name=logmel"], "Did you mean 'features/log-mel'?"),
    ("TI-SV/GE2E", ["--optimizer_name=adam"], "torch.optim has no optimizer 'adam'. Did you mean Adam?"),
    ("TI-SV/GE2E", ["--corpus=timid"], "Did you mean 'corpus/timit'?"),
    ("TI-SV/GE2E", ["--corpus_options={builtin: {num_train_speaker: 5}}"], "Did you mean 'num_train_speakers'?"),
    ("TI-SV/GE2E", ["hparams/ge2.yaml"], "There is no file hparams/ge2.yaml. Did you mean ge2e.yaml?"),
    ("TI-SV/GE2E", ["hparams", "--lr=1"], "hparams is a folder. hparams has ge2e.yaml, small_corpus.yaml."),
    ("TI-SV/GE2E", ["ge2e.yaml"], "There is no file ge2e.yaml. Give the path of a recipe's yaml."),
    # folders
    ("TI-SV/GE2E", ["--corpus=timit", "--data_folder=/nowhere"], "The folder /nowhere does not exist"),
    ("TIMIT/quality", ["--noise_folder=/nowhere"], "The noise folder /nowhere does not exist"),
    ("TI-SV/GE2E", ["--corpus=timit"], "The corpus timit has no folder. Give data_folder"),
    ("TI-SV/GE2E", ["--corpus=[timit, librispeech]"], "Give one folder for each corpus"),
    ("TIMIT/enhancement", ["--start_from=/nowhere", "--quality_weight=0", "--num_layers=-1"], "num_layers=-1"),
    # types
    ("TI-SV/GE2E", ["--lr=fast"], "--lr='fast' cannot be: speechtools.training.optimizer takes float."),
    ("TIMIT/quality", ["--seed=abc"], "--seed='abc' cannot be: it is a whole number. The yaml has seed: 1234."),
    ("keyword/GE2E", ["--num_workers=many"], "--num_workers='many' cannot be: it is a whole number"),
    ("TIMIT/quality", ["--batch_size=2.5"], "--batch_size=2.5 cannot be: it is a whole number."),
    ("TIMIT/quality", ["--batch_size=null"], "--batch_size=None cannot be: it is a whole number"),
    ("TI-SV/GE2E", ["--augmentation=yes"], "augmenter takes bool. The yaml has augmentation: False."),
    ("TI-SV/GE2E", ["--lr={a: 1}"], "--lr={'a': 1} cannot be"),
    ("TI-SV/GE2E", ["--corpus_options=5"], "takes dict"),
    ("keyword/GE2E", ["--keywords=yes"], "--keywords='yes' cannot be: it is a list, as in [a, b]."),
    ("TIMIT/quality", ["--test_snrs_db=5"], "quality.data.prepare takes Sequence[float]"),
    ("TIMIT/quality", ["--features=mel"], "--features='mel' cannot be: it is made by !new:speechtools.audio.feat"),
    ("TIMIT/quality", ["--name="], "--name='' cannot be: it is text, and not empty."),
    # values
    ("TI-SV/GE2E", ["--hidden_size=-3"], "encoder/lstmp cannot be built with hidden_size=-3"),
    ("TIMIT/quality", ["--hidden_size=0"], "quality/blstm cannot be built with hidden_size=0"),
    ("TIMIT/quality", ["--dropout=2"], "--dropout=2 cannot be: it lies between 0 and 1."),
    ("TI-SV/GE2E", ["--valid_share=-1"], "--valid_share=-1 cannot be: it lies between 0 and 1."),
    ("TIMIT/enhancement", ["--lr=-1"], "The optimizer Adam cannot work with lr=-1: Invalid learning rate: -1"),
    ("TI-SV/GE2E", ["--average_decay=2"], "hparams/ge2e.yaml with its options describes cannot be built: "),
    ("TI-SV/GE2E", ["--reduction=max"], "reduction='max' is unknown: it is 'sum' (equation 10) or 'mean'."),
    ("TIMIT/quality", ["--scale=moss"], "Unknown measure 'moss'. Did you mean 'mos'?"),
    ("TIMIT/enhancement", ["--hop_length=0"], "hop_length=0 must divide n_fft=512"),
    ("TIMIT/enhancement", ["--quality_weight=1"], "start_from names none"),
    ("keyword/GE2E", ["--budget_seconds=long"], "--budget_seconds='long' cannot be: it is above 0."),
    ("TI-SV/GE2E", ["--halve_every=0"], "--halve_every=0 cannot be: it is above 0."),
    ("TIMIT/quality", ["--num_frames=0"], "--num_frames=0 cannot be: it is 1 or more."),
    ("TIMIT/quality", ["--number_of_epochs=-1"], "--number_of_epochs=-1 cannot be: it is 1 or more."),
    ("TIMIT/enhancement", ["--batch_size=0"], "--batch_size=0 cannot be: it is 1 or more."),
    ("TIMIT/enhancement", ["--compression=-1"], "--compression=-1 cannot be: it is above 0, and 1 at most."),
    ("TIMIT/enhancement", ["--mask_target=imr"], "enhancement_objective takes 'irm' or 'psm'."),
    ("TIMIT/enhancement", ["--approximation=sig"], "enhancement_objective takes 'mask' or 'signal'."),
    ("TIMIT/quality", ["--frame_reduction=median"], "quality_objective takes 'sum' or 'mean'."),
    ("TIMIT/quality", ["--alpha=.nan"], "--alpha=nan cannot be: it is a number."),
    # what is made of other options
    ("TI-SV/GE2E", ["--modules={a: 1}"], "--modules={'a': 1} cannot be: it is made of other options."),
    ("TIMIT/quality", ["--checkpointer={recoverables: {a: 1}}"], "it is made by !new:speechtools.training.Atomic"),
    ("TIMIT/quality", ["--opt_class={lr: 3}"], "it is made by !apply:speechtools.training.optimizer. Change the"),
    ("keyword/GE2E", ["--sources={main: {options: 3}}"], "it is made of other options."),
    ("TI-SV/GE2E", ["--save_folder=!ref <save_folder>/a"], "a !ref refers to itself"),
    ("TIMIT/quality", ["--corpus_options={builtin: 3}"], "takes dict[str, dict]"),
    ("TI-SV/GE2E", ["--corpus_options={builtin: null}"], "takes dict[str, dict]"),
    ("TIMIT/quality", ["--test_noises={engine: 3}"], "takes dict[str, str | Sequence[str] | None] | Sequence[str]"),
    ("TIMIT/quality", ["--test_noises={2020-01-01: a}"], "takes dict[str, str | Sequence[str] | None]"),
    # SpeechBrain's own options
    ("TIMIT/quality", ["--max_grad_norm=-1"], "--max_grad_norm=-1.0 cannot be: it is above 0."),
    ("TI-SV/GE2E", ["--max_grad_norm=nan"], "--max_grad_norm=nan cannot be: it is above 0."),
    ("TIMIT/quality", ["--grad_accumulation_factor=0"], "--grad_accumulation_factor=0 cannot be: it is 1 or more."),
    ("TI-SV/GE2E", ["--device=gpu"], "--device=gpu is no device. Give cpu, cuda or cuda:1."),
    ("TI-SV/GE2E", ["--device=meta"], "--device=meta cannot compute here"),
    ("TI-SV/GE2E", ["--device=cpu:3"], "--device=cpu:3, but the CPU is one device. Give --device=cpu."),
    ("TI-SV/GE2E", ["--encoder_name=my-nett"], "'encoder/my-nett'."),
    ("TIMIT/enhancement", ["--optimizer_name=LBFGS"], "The optimizer LBFGS cannot work with lr=0.001: LBFGS.step()"),
    ("TI-SV/GE2E", ["--precision=fp99"], "argument --precision: invalid choice: 'fp99'"),
    ("TI-SV/GE2E", ["--max_grad_norm=big"], "argument --max_grad_norm: invalid float value: 'big'"),
    ("TI-SV/GE2E", ["--device"], "--device: expected one argument"),
    # how it is typed
    ("TI-SV/GE2E", ["-lr=0.1"], "-lr=0.1 begins with one dash, and options with two: write --lr=0.1."),
    ("TI-SV/GE2E", ["--lr"], "--lr has no value. Write --lr=…"),
    ("TI-SV/GE2E", ["--lr=1", "--lr=2"], "--lr is given twice. Leave one of them out."),
    ("TI-SV/GE2E", ["--lr", "0.1", "0.2"], "'0.2' belongs to no option"),
    ("TI-SV/GE2E", ["--keywords=[a", "b]"], "--keywords=[a is no valid yaml: expected ',' or ']'"),
]  # fmt: skip


@pytest.mark.parametrize("recipe, words, said", COMMAND_LINE, ids=in_words)
def test_a_mistake_on_the_command_line_is_one_message(message, recipe, words, said):
    assert said in message(recipe, *words)


@pytest.mark.parametrize("recipe", YAMLS)
def test_every_recipe_says_it_in_the_same_way(message, recipe):
    assert message(recipe, "--sead=3").endswith("Did you mean --seed?")
    assert "cannot be: it is a whole number. The yaml has seed: 1234." in message(recipe, "--seed=abc")


@pytest.mark.parametrize(
    "recipe, word, said",
    [
        ("TIMIT/quality", "--quik", "--quik is no option of it, nor of paper.yaml. Did you mean --quick?"),
        ("TI-SV/GE2E", "--lr=fast", "--lr='fast' cannot be"),
        ("keyword/GE2E", "--seeed=2", "--seeed is no option of it, nor of multireader.yaml. Did you mean --seed?"),
    ],
)
def test_a_reproduction_begins_nothing_with_a_wrong_option(tmp_path, monkeypatch, capsys, recipe, word, said):
    monkeypatch.setattr(sys, "argv", ["reproduce.py", word, f"--output_folder={tmp_path}/tables"])
    with pytest.raises(SystemExit, match="2"):
        runpy.run_path(str(RECIPES / recipe / "reproduce.py"), run_name="__main__")
    assert said in capsys.readouterr().err and not (tmp_path / "tables").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(message):
    assert "--device=cuda, but torch finds no GPU here" in message("TI-SV/GE2E", "--device=cuda")


def test_the_yaml_left_out():
    with pytest.raises(
        ConfigError, match="The recipe's yaml is missing. Name it first, as in: python train.py hparams"
    ):
        options.read_command_line(["--lr=0.1"])


def test_no_utterance_at_a_time():
    with pytest.raises(ConfigError, match="batch_size=0 makes no batches"):
        training.loaders_by_length([1.0, 2.0], 0)


def test_a_classifier_where_the_sources_have_speakers_of_their_own():
    import speechtools

    with pytest.raises(ConfigError, match=r"several sources \(keyword/GE2E\) cannot.*choose ge2e-softmax"):
        speechtools.build("speaker-loss/softmax")(torch.randn(2, 3, 4), torch.arange(2))


# ---------------------------------------------------------------------------------------------- what is right remains


@pytest.mark.parametrize(
    "words, key, value",
    [
        (["--lr", "0.1"], "lr", 0.1),
        (["--lr=1"], "lr", 1),
        (["--lr", "-0.1"], "lr", -0.1),
        (["--keywords=[yes, no]"], "keywords", ["yes", "no"]),
        (["--data_folder=/a=b"], "data_folder", "/a=b"),
        (["--data_folder="], "data_folder", ""),
        (["--num_train_noises=null"], "num_train_noises", None),
        (["--debug", "--seed=3"], "seed", 3),
    ],
)
def test_options_that_are_right(words, key, value):
    path, _, given, _ = options.read_command_line(["hparams/x.yaml", *words])
    assert path == Path("hparams/x.yaml") and given == {key: value}


def test_options_of_speechbrain_reach_it():
    _, run_opts, given, _ = options.read_command_line(["x.yaml", "--device", "cpu", "--max_grad_norm=1.5", "--debug"])
    assert (run_opts.device, run_opts.max_grad_norm, run_opts.debug) == ("cpu", 1.5, True) and not given
    assert {"device", "max_grad_norm", "debug"} <= run_opts.overridden_args


QNET = RECIPES / "TIMIT/quality/hparams/qnet.yaml"


def options_of(given, typed=None, run_opts=None):
    text, overrides = training.read_variant(QNET, given)
    return options.check(text, overrides, QNET, typed or {key: str(value) for key, value in given.items()}, run_opts)


@pytest.mark.parametrize(
    "given, checked",
    [
        ({"num_train_noises": None}, None),  # as its reader takes it
        ({"valid_noises": ["a", "b"]}, None),  # a number or a list
        ({"corpus": ["timit", "kaldi"]}, None),
        ({"alpha": 1}, None),  # a whole number is a number
        ({"name": 5}, {"name": "5"}),
        ({"data_folder": 2024}, {"data_folder": "2024"}),
        ({"recurrent_max_norm": 0.1}, None),
        ({"test_noises": {"street": None}}, None),
        ({"save_folder": "/elsewhere"}, None),
    ],
)
def test_values_that_are_right(given, checked):
    assert options_of(given) == (checked or given)


@pytest.mark.parametrize(
    "word, value",
    [
        ("--output_folder=2024_01", "2024_01"),
        ("--data_folder=0123", "0123"),
        ("--name=1.10", "1.10"),
        ("--name=2024-05-01", "2024-05-01"),
        ("--max_grad_norm=2", 2.0),  # SpeechBrain's, and the yaml's
    ],
)
def test_an_option_is_what_was_typed(word, value):
    _, run_opts, given, typed = options.read_command_line(["x.yaml", word])
    assert list(options_of(given, typed, run_opts).values()) == [value]


@pytest.mark.parametrize("recipe, yaml", YAMLS.items())
def test_the_options_of_a_readmes_table_are_right(recipe, yaml):
    """Each by itself, of the yaml that the recipe is started with; --enhancer is one of paper.yaml alone."""
    rows = re.findall(r"^\| `(--.*?)` \|", (RECIPES / recipe / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    words = [word for row in rows for word in shlex.split(row.replace("`, `", " ")) if word.startswith("--")]
    assert len(words) > 3
    for word in words:
        path = RECIPES / recipe / ("hparams/paper.yaml" if word.startswith("--enhancer=") else yaml)
        _, run_opts, given, typed = options.read_command_line([str(path), word])
        text, overrides = training.read_variant(path, given)
        options.check(text, overrides, path, typed, run_opts)


# ------------------------------------------------------------------------------------------------------------ in a yaml


@pytest.fixture
def yaml(tmp_path):
    """``yaml({old: new})`` is a changed copy of GE2E's yaml, ``yaml(text)`` a variant beside it."""
    path = tmp_path / "ge2e.yaml"
    shutil.copy(RECIPES / "TI-SV/GE2E/hparams/ge2e.yaml", path)

    def write(change):
        if isinstance(change, dict):
            text = path.read_text()
            for old, new in change.items():
                assert old in text
                text = text.replace(old, new, 1)
            path.write_text(text)
            return path
        (tmp_path / "variant.yaml").write_text(change)
        return tmp_path / "variant.yaml"

    return write


@pytest.mark.parametrize(
    "change, said",
    [
        ({"lr: 0.01": "lr: 0.01\nlr: 0.02"}, 'ge2e.yaml is no valid yaml: found duplicate key "lr"'),
        ({"lr: 0.01": "lr 0.01"}, "ge2e.yaml is no valid yaml: could not find expected ':' (line "),
        ({"n_mels: 40": "\tn_mels: 40"}, "found character '\\t' that cannot start any token (line"),
        ({"corpus: builtin": "corpus: [builtin"}, "ge2e.yaml is no valid yaml: "),
        ({"!ref <hidden_size>": "!ref <hiden_size>"}, 'The reference "hiden_size" is not valid'),
        ({"<features.size>": "<features.sizze>"}, "no attribute 'sizze'"),
        ({"!new:speechbrain.utils.epoch_loop.": "!new:speechbrain.utils.epoch_lop."}, "There is no such class as"),
        ({"limit_to_stop:": "limit_too_stop:"}, "unexpected keyword argument 'limit_too_stop'"),
        ({"input_size: !ref <features.size>": "input_sizze: 40"}, "takes no parameter 'input_sizze'. Did you mean"),
        ({"plugin: !ref encoder/<encoder_name>": "plugin: lstmp"}, "'lstmp'. Write kind/name"),
        ({"name: !ref": "__plugins: !module:my_nett\nname: !ref"}, "my_nett"),
        ({"seed: 1234": "seed: !PLACEHOLDER"}, "'seed' is a !PLACEHOLDER and must be replaced."),
        ("base: gee2e.yaml\nlr: 0.1\n", "says base: gee2e.yaml, and there is no such other file"),
        ("base: variant.yaml\nlr: 0.1\n", "says base: variant.yaml, and there is no such other file beside it."),
        ("base: ge2e.yaml\nhiden_size: 5\n", "variant.yaml is no option of ge2e.yaml. Did you mean hidden_size?"),
        ("base: ge2e.yaml\nhidden_size: large\n", "variant.yaml: 'large' cannot be: it is a whole number."),
        ("base: ge2e.yaml\nheldout_share: 2\n", "variant.yaml: 2 cannot be: it lies between 0 and 1."),
        ("base: ge2e.yaml\nlr: {a: 1}\n", "cannot be"),
        ({"lr: 0.01": "5: 6\nlrr: 0.01"}, 'The reference "lr" is not valid'),
        ("base: ge2e.yaml\nlrr: 5\n", "variant.yaml is no option of ge2e.yaml. Did you mean lr?"),
        ({"output_folder: !ref results/<name>/<seed>": "output_folder: !apply:os.getcwd"}, "is made by !apply:os"),
        ("- a\n- b\n", "must hold a yaml mapping (key: value)"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_yaml_is_one_message(yaml, tmp_path, monkeypatch, change, said):
    path = yaml(change)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(
        training.sb, "create_experiment_directory", lambda folder, **_: folder.mkdir(parents=True, exist_ok=True)
    )
    with pytest.raises(SpeechtoolsError, match=".") as caught:
        training.start([str(path), f"--output_folder={tmp_path}/run"])
    text = str(caught.value)
    assert said in text and "\n" not in text


def test_files_that_build_on_each_other(yaml, tmp_path):
    outer = tmp_path / "outer.yaml"
    outer.write_text("base: variant.yaml\n")
    with pytest.raises(ConfigError, match=r"outer.yaml says base: variant.yaml, which itself builds on outer.yaml"):
        training.read_variant(yaml("base: outer.yaml\n"))


def test_a_variant_of_a_variant_names_the_file_to_mend(yaml, tmp_path):
    yaml("base: ge2e.yaml\nhidden_size: large\n")
    outer = tmp_path / "outer.yaml"
    outer.write_text("base: variant.yaml\nlr: 0.5\n")
    text, overrides = training.read_variant(outer)
    with pytest.raises(ConfigError, match="hidden_size in .*variant.yaml: 'large' cannot be"):
        options.check(text, overrides, outer, {})


def test_the_message_stands_alone_on_the_screen(tmp_path):
    """As a person sees it: no traceback, nothing twice, status 1; the log of the run has the traceback."""
    command = [sys.executable, "train.py", "hparams/ge2e.yaml", f"--output_folder={tmp_path}/run", "--reduction=max"]
    done = runs.call(command, cwd=RECIPES / "TI-SV/GE2E", env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 1
    assert (done.stdout + done.stderr).count("reduction='max' is unknown") == 1
    assert done.stderr.startswith("error: reduction='max' is unknown") and done.stderr.count("\n") == 1
    assert not {"Traceback", "quirks", "torchvision"} & set(re.findall(r"\w+", done.stdout + done.stderr))
    assert "Traceback" in (tmp_path / "run" / "log.txt").read_text()


# --------------------------------------------------------------------------------------------- the command speechtools


@pytest.mark.parametrize(
    "words, said",
    [
        (["scor", "a.wav"], "Did you mean 'score'?"),
        (["score"], "Nothing to score"),
        (["score", "/nowhere.wav"], "/nowhere.wav"),
        (["score", "a.wav", "--modell=x"], "No such option '--modell'"),
        (["score", "a.wav", "--batch_size=many"], "Invalid value for '--batch_size': 'many'"),
        (["score", "{folder}/a.wav", "--device=gpu"], "The model cannot be put on gpu"),
        (["score", "{folder}/a.wav", "--model=/nowhere/pretrained"], "There is no folder /nowhere/pretrained"),
        (["score", "{folder}/a.wav", "--batch_size=0"], "batch_size=0"),
        (["enhance", "{folder}", "{folder}/out.wav"], "is a folder and"),
        (["enhance", "{folder}/a.wav", "{folder}/out"], "out. Create it, or add .wav or .flac"),
        (["embed", "{folder}", "--out={folder}", "--model=x"], "is a folder. Pass the name of a file"),
        (["verify", "a.wav", "b.wav", "--model=/nowhere/pretrained"], "/nowhere/pretrained"),
        (["show", "qualty/blstm"], "'qualty'. Did you mean 'quality'?"),
        (["list", "qualty"], "Did you mean 'quality'?"),
        (["check", "plugin", "quality/blst"], "Did you mean 'quality/blstm'?"),
        (["check", "manifest", "nowhere.csv"], "nowhere.csv"),
        (["check", "recipe", "{folder}"], "train.py"),
        (["check", "plugin", "{folder}/my_net.py"], "my_net.py is a module. Pass the name of its plugin"),
        (["check", "manifest", "{folder}/a.wav"], "a.wav"),
    ],
    ids=in_words,
)
def test_a_mistake_with_the_command_is_one_message(tmp_path, tone, capsys, words, said):
    import soundfile

    soundfile.write(tmp_path / "a.wav", tone(1.0), 16000)
    (tmp_path / "my_net.py").touch()
    status = cli.main([word.format(folder=tmp_path) for word in words])
    error = capsys.readouterr().err
    assert status in (1, 2)
    (line,) = [line for line in error.splitlines() if line.startswith("speechtools") and "usage" not in line]
    assert said in line
    assert "Traceback" not in error
