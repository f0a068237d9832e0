"""Options from the command line to the merged yaml: variants, names, types, and one message for every mistake."""

import sys
from pathlib import Path

import pytest
import runs
import torch

from speechtools.core.errors import ConfigError, SpeechtoolsError
from speechtools.training import check_recipe, options, trees
from speechtools.training.command_line import parse

ROOT = Path(__file__).parents[2]
BASE = """
seed: 1
name: run
output_folder: !ref results/<name>/<seed>
rate: 0.5
sizes: {small: 1, large: 2}
snrs: [0, 5]
nothing: null
augmented: False
net: !new:torch.nn.Linear {in_features: 1, out_features: 2}
modules: {net: !ref <net>}
"""


@pytest.fixture
def write(tmp_path):
    """``write(name, text)`` makes a yaml beside base.yaml, and returns its path."""

    def to_file(name, text):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    to_file("base.yaml", BASE)
    return to_file


def merged(path, *words):
    return options.merge(parse([str(path), *words]))


def resolved(path, *words):
    return options.resolve(parse([str(path), *words]))


# ------------------------------------------------------------------------------------------- variants and fragments


def test_a_variant_holds_only_what_differs_and_the_command_line_comes_last(write):
    write("variant.yaml", "base: base.yaml\nname: variant\nsnrs: [1]\nsizes: {small: 5}\n")
    path = write("variant2.yaml", "base: variant.yaml\nsnrs: [2]\n")
    tree = merged(path, "--seed=7", "--sizes={large: 7}")
    assert (tree["name"], tree["snrs"], tree["seed"]) == ("variant", [2], 7)
    assert tree["sizes"] == {"small": 5, "large": 7}


def test_an_object_of_another_class_takes_the_place_of_that_of_the_base(write):
    write("objects.yaml", "net: !new:builtins.dict\n    a: 1\n    b: {c: 2}\n")
    path = write("same.yaml", "base: objects.yaml\nnet: !new:builtins.dict\n    a: 3\n")
    assert trees.dump(merged(path)) == "net: !new:builtins.dict\n  a: 3\n  b: {c: 2}\n"
    path = write("other.yaml", "base: objects.yaml\nnet: !apply:builtins.sorted\n    a: 3\n")
    assert trees.dump(merged(path)) == "net: !apply:builtins.sorted\n  a: 3\n"


def test_values_and_fragments_are_included_and_can_be_changed(write):
    write("list.yaml", "[7, 8]\n")
    write("fragment.yaml", "first: 1  # of all\nshared: 2\n")
    write("whole.yaml", "include: [fragment.yaml]\nshared: 3\nlast: !ref <first> + <shared>\n")
    path = write("variant.yaml", "base: whole.yaml\nfirst: 5\n")
    assert trees.plain(resolved(path)) == {"first": 5, "shared": 3, "last": 8}
    assert list(merged(path)) == ["first", "shared", "last"]
    path = write("sharing.yaml", "base: base.yaml\nsnrs: !include:list.yaml\n")
    assert merged(path)["snrs"] == [7, 8] and merged(path, "--snrs=[1]")["snrs"] == [1]


@pytest.mark.parametrize("plugins", ["my_nett", "!module:my_nett", "[json, my_nett]"])
def test_plugins_come_first_and_must_exist(write, plugins):
    path = write("mine.yaml", f"base: base.yaml\n__plugins: {plugins}\n")
    assert next(iter(merged(path))) == "__plugins"
    with pytest.raises(SpeechtoolsError, match="my_nett"):
        resolved(path)


@pytest.mark.parametrize(
    "words, key, value",
    [
        (["--rate", "-0.1"], "rate", -0.1),
        (["--rate=null"], "rate", None),  # left to what takes it
        (["--nothing=many"], "nothing", "many"),
        (["--name=2024-05-01"], "name", "2024-05-01"),
        (["--name=/a=b"], "name", "/a=b"),
        (["--max_grad_norm=2"], "max_grad_norm", 2.0),  # SpeechBrain's, which changes the result
        (["--snrs=5"], "snrs", [5]),
        (["--snrs=clipping"], "snrs", ["clipping"]),
        (["--snrs={clipping: {level: 0.1}}"], "snrs", [{"clipping": {"level": 0.1}}]),
    ],
)
def test_values_that_are_accepted(write, words, key, value):
    assert merged(write("base.yaml", BASE), *words)[key] == value


def test_a_single_value_in_a_variant_is_a_list(write):
    assert merged(write("variant.yaml", "base: base.yaml\nsnrs: 7\n"))["snrs"] == [7]


@pytest.mark.parametrize("modules", ["a,b", "!module:a,b", "a b"])
def test_several_plugins_are_a_list(write, modules):
    with pytest.raises(ConfigError, match=r'__plugins="\[a, b\]"'):
        resolved(write("base.yaml", BASE), f"--__plugins={modules}")


# --------------------------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    "words, token",
    [
        # how it is typed
        ([], "yaml is missing"),
        (["base.yaml", "-rate=0.1"], "--rate=0.1"),
        (["base.yaml", "--rate=1", "--rate=2"], "--rate is repeated"),
        (["base.yaml", "--__plugins=a", "--__plugins=b"], '--__plugins="[a, b]"'),
        (["base.yaml", "--rate", "0.1", "0.2"], "'0.2' is not an option"),
        (["base.yaml", "--__plugins=[a,", "b]"], "--__plugins: [a, is not valid yaml"),
        (["base.yaml", "--snrs="], "a list"),
        (["base.yaml", "--snrs=[a", "b]"], "--snrs: [a is not valid yaml"),
        # names
        (["bas.yaml"], "Did you mean base.yaml?"),
        (["nowhere/x.yaml"], "Pass the path of a recipe's yaml"),
        (["base.yaml", "--sead=3"], "--sead. Did you mean --seed?"),
        (["base.yaml", "--xyzzy=3"], "Options: seed, name,"),
        # types
        (["base.yaml", "--seed=True"], "whole number"),
        (["base.yaml", "--rate=fast"], "--rate: 'fast' is not a number"),
        (["base.yaml", "--augmented=yes"], "True or False"),
        (["base.yaml", "--sizes=5"], "a mapping"),
        (["base.yaml", "--name="], "--name: it is empty"),
        # what is made of other options
        (["base.yaml", "--modules={net: 3}"], "!new:torch.nn.Linear"),
        (["base.yaml", "--modules={other: 3}"], "has the keys net"),
        # SpeechBrain's options
        (["base.yaml", "--device"], "--device"),
        (["base.yaml", "--device=meta"], "--device=meta"),
        (["base.yaml", "--device=cpu:3"], "--device=cpu"),
        (["base.yaml", "--device=cuda:99"], "--device=cuda:99"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_on_the_command_line_is_one_message(write, tmp_path, monkeypatch, words, token):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        options.merge(parse(words))
    assert token in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text, token",
    [
        ("seed: 1\nseed: 2\n", 'duplicate key "seed"'),
        ("- a\n", "mapping"),
        ("a: [1", "(line 1)"),
        ("a: !ref <b>\n", "a in"),
        ("a: !ref <a>/b\n", "refers to itself"),
        ("a: !PLACEHOLDER\n", "!PLACEHOLDER"),
        ("a: !include:bse.yaml\n", "Did you mean base.yaml?"),
        ("base: bse.yaml\n", "Did you mean base.yaml?"),
        ("base: y.yaml\n", "itself builds on y.yaml"),
        ("base: base.yaml\nsead: 3\n", "Did you mean seed?"),
        ("base: base.yaml\nseed: many\n", "seed in"),
        ("net: !new:torch.nn.Linear {in_size: 1}\n", "in_size"),
        ("net: !apply:speechtools.build {plugin: lstmp}\n", "kind/name"),
    ],
)
def test_a_mistake_in_a_yaml_is_one_message_that_names_the_file(write, tmp_path, text, token):
    (tmp_path / "hparams").mkdir()
    (tmp_path / "train.py").touch()
    write("hparams/base.yaml", BASE)
    write("hparams/derived.yaml", "base: y.yaml\n")
    path = write("hparams/y.yaml", text if text.startswith(("base:", "- ", "a: [")) else f"output_folder: x\n{text}")
    problems = [problem for problem in check_recipe(tmp_path) if path.name in problem]
    assert problems and token in problems[0] and "\n" not in problems[0]


def test_a_check_prints_no_notices_of_speechbrain():
    call = "from speechtools.cli import main; raise SystemExit(main(['check', 'recipe', '.']))"
    done = runs.call([sys.executable, "-c", call], cwd=ROOT / "recipes/keyword/GE2E")
    assert "0 problems" in done.stdout and "torchvision" not in done.stderr


def test_a_check_imports_the_plugins_beside_train_py(write, tmp_path):
    with pytest.raises(ConfigError, match="not a recipe"):
        check_recipe(tmp_path)
    (tmp_path / "hparams").mkdir()
    (tmp_path / "train.py").touch()
    write(
        "my_checked_net.py",
        "import torch\nimport speechtools\n\n@speechtools.plugin('zoo/net')\n"
        "def net(size: int):\n    return torch.nn.Linear(size, 1)\n",
    )
    text = "output_folder: x\n__plugins: my_checked_net\nnet: !apply:speechtools.build {plugin: zoo/net, size: 2}\n"
    write("hparams/a.yaml", text)
    write("hparams/b.yaml", text.replace("size: 2", "sise: 2"))
    (problem,) = check_recipe(tmp_path)
    assert "b.yaml" in problem and "Did you mean 'size'" in problem


# ------------------------------------------------------------------------------------------ options without effect


@pytest.mark.parametrize(
    "path, words, token",
    [
        ("TIMIT/quality/hparams/autoencoder_nn.yaml", ["--forget_gate_bias=1"], "autoencoder-nn.* quality/blstm"),
        ("TI-SV/GE2E/hparams/ge2e.yaml", ["--features_name=magnitude", "--n_mels=80"], "features/log-mel"),
        (
            "keyword/GE2E/hparams/multireader.yaml",
            ["--corpus=speech-commands", "--other_corpus=speech-commands", "--renditions=3"],
            "corpus/speech-commands.* corpus/builtin-keywords",
        ),
    ],
)
def test_an_option_that_no_plugin_takes_is_refused(path, words, token):
    path = ROOT / "recipes" / path
    with pytest.raises(ConfigError, match=f"{words[-1]} has no effect: .*{token}"):
        resolved(path, *words)
    resolved(path, *words[:-1])  # the yaml may offer what no plugin takes


def test_an_option_that_further_options_overrule_is_refused():
    path = ROOT / "recipes/TI-SV/GE2E/hparams/ge2e.yaml"
    further = "--encoder_options={hidden_size: 32}"
    with pytest.raises(ConfigError, match="--hidden_size=64 has no effect: .*encoder/lstmp set hidden_size"):
        resolved(path, further, "--hidden_size=64")
    resolved(path, further, "--proj_size=32")


def test_further_options_are_merged_with_those_of_the_yaml(tmp_path):
    base = ROOT / "recipes/TI-SV/GE2E/hparams/ge2e.yaml"
    (tmp_path / "mine.yaml").write_text(f"base: {base}\nencoder_options: {{a: 1, b: 2}}\n")
    assert merged(tmp_path / "mine.yaml", "--encoder_options={b: 3}")["encoder_options"] == {"a": 1, "b": 3}


def test_a_key_of_a_variant_that_no_plugin_takes_is_logged(tmp_path, caplog):
    base = ROOT / "recipes/TIMIT/quality/hparams/autoencoder_nn.yaml"
    (tmp_path / "mine.yaml").write_text(f"base: {base}\nforget_gate_bias: 1.0\nlr: 0.1\n")
    resolved(tmp_path / "mine.yaml")
    (record,) = caplog.records
    assert "forget_gate_bias" in record.getMessage() and "quality/blstm" in record.getMessage()


def test_an_option_is_used_if_one_plugin_or_anything_else_takes_it():
    # As embedding_size of lstm, and as the sample rate of other objects.
    words = ("--encoder_name=lstm", "--proj_size=32", "--features_name=magnitude", "--sample_rate=8000")
    resolved(ROOT / "recipes/TI-SV/GE2E/hparams/ge2e.yaml", *words)
    # By the other source.
    resolved(ROOT / "recipes/keyword/GE2E/hparams/multireader.yaml", "--corpus=speech-commands", "--renditions=3")


# ------------------------------------------------------------------------------------------------ SpeechBrain's options


@pytest.mark.parametrize("supported", [True, False])
@pytest.mark.parametrize(
    "text, words, name",
    [
        ("base: base.yaml\n", ["--precision=bf16"], "--precision"),
        ("base: base.yaml\nprecision: bf16\n", [], "precision"),
        ("output_folder: x\nprecision: bf16\n", [], "precision"),
        ("output_folder: x\neval_precision: bf16\n", [], "eval_precision"),
    ],
)
def test_bfloat16_needs_a_processor_that_has_it(write, monkeypatch, supported, text, words, name):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: supported)
    command_line = parse([str(write("x.yaml", text)), "--device=cpu", *words])
    assert options.merge(command_line)[name.strip("-")] == "bf16"
    if supported:
        options.check(command_line)
    else:
        with pytest.raises(ConfigError, match=f"^{name}=bf16 needs a GPU, or a CPU .* Leave the option out"):
            options.check(command_line)


def test_an_unknown_precision_of_a_yaml_is_refused(write):
    path = write("x.yaml", "base: base.yaml\nprecision: bfloat16\n")
    with pytest.raises(ConfigError, match="precision: 'bfloat16' .* bf16"):
        options.check(parse([str(path), "--device=cpu"]))
    options.check(parse([str(path), "--device=cpu", "--precision=fp32"]))
