"""Loading trained models from folders, by name and from the hub."""

import hashlib
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from torch import nn

import speechtools
from speechtools import cli
from speechtools.core.errors import ConfigError, ModelKindError
from speechtools.inference import PretrainedModel, QualityNet, SpeakerVerification, SpeechEnhancer


@pytest.fixture
def model(pretrained, tmp_path):
    """A copy to damage."""
    return shutil.copytree(pretrained, tmp_path / "model")


def load_net(source, **options):
    return QualityNet.from_hparams(source, run_opts={"device": "cpu"}, **options)


def edit(folder, change, keep_sum=False):
    """Change the config; without its checksum, as the message advises to those who edit it by hand."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config = change(config) or config
    if not keep_sum and isinstance(config, dict):
        config.pop("config_sha256", None)
    path.write_text(json.dumps(config))


def edit_weights(folder, change):
    """Change the tensors, and the config to match them."""
    path = folder / "model.safetensors"
    tensors = load(path.read_bytes())
    path.write_bytes(save(change(tensors) or tensors))
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    edit(folder, lambda config: config.update(weights_sha256=checksum))


def test_bundled_models_are_loaded_by_name(tone):
    wav = torch.from_numpy(tone(1.0))
    default, same, path = (
        float(load_net(name).assess_batch(wav)[0]) for name in (None, "quality-net", Path("quality-net"))
    )
    assert default == same == path


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("/nowhere/pretrained", "folder /nowhere/pretrained .* nearest existing parent"),
        ("quality-nett", "Did you mean 'quality-net'"),
        ("", "name of the model is empty"),
        ("speaker", "It is a model for SpeakerVerification"),
        (".git", "has no config.json"),
        ("setup.cfg", "setup.cfg is a file"),
    ],
)
def test_sources_that_cannot_be_loaded(tmp_path, monkeypatch, source, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".git").mkdir()
    (tmp_path / "setup.cfg").touch()
    with pytest.raises(ConfigError, match=message):
        load_net(source)
    with pytest.raises(ConfigError, match="PretrainedModel has no bundled model"):
        PretrainedModel.from_hparams()


def test_a_hub_id_is_downloaded(pretrained, monkeypatch):
    import huggingface_hub

    requests = []

    def download(name, allow_patterns, **options):
        requests.append(set(allow_patterns))
        return {"owner/name": pretrained}[name]

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert load_net("owner/name").scale == load_net("owner/name", trust=True).scale == "raw_nb"
    files = {"config.json", "model.safetensors", "README.md"}
    assert requests == [files, files | {"hyperparams.yaml", "*.ckpt"}]
    with pytest.raises(ConfigError, match="'owner/other' is not a local folder, and cannot be downloaded .*KeyError"):
        load_net("owner/other")


# -------------------------------------------------------------------------------------------------------------- damage


@pytest.mark.parametrize(
    "damage, token",
    [
        (lambda content: content[:3000], "model.safetensors .3000 bytes. are not those"),
        (lambda content: b"", "model.safetensors .0 bytes. are not those"),
        (lambda content: content[:-1] + bytes([content[-1] ^ 1]), "are not those"),
    ],
)
def test_damaged_weights(model, damage, token):
    path = model / "model.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ConfigError, match=token):
        load_net(model)
    path.unlink()
    with pytest.raises(ConfigError, match="weights .*model.safetensors cannot be read"):
        load_net(model)


def test_weights_of_another_export(model):
    shutil.copy(QualityNet.BUNDLED / "model.safetensors", model)
    with pytest.raises(ConfigError, match="another export"):
        load_net(model)


@pytest.mark.parametrize(
    "change, token",
    [
        (lambda tensors: tensors.pop("quality.output.bias") and None, "output.bias is missing"),
        (lambda tensors: tensors | {"quality.more": torch.ones(1)}, "more is unknown"),
        (lambda tensors: tensors | {"other.more": torch.ones(1)}, "other.more, which belongs to no component"),
        (lambda tensors: tensors | {"quality.output.bias": torch.ones(2)}, r"output.bias has \(2,\)"),
        (lambda tensors: {key: value.half() for key, value in tensors.items()}, "torch.float16 instead of"),
        (lambda tensors: tensors | {"quality.output.bias": torch.tensor([np.nan])}, "NaN .* in quality.output.bias"),
    ],
)
def test_weights_that_do_not_fit(model, change, token):
    edit_weights(model, change)
    with pytest.raises(ConfigError, match=token):
        load_net(model)


@pytest.mark.parametrize(
    "text, token",
    [
        ("", "cannot be read as JSON"),
        ("{", "cannot be read as JSON"),
        ("\x80", "cannot be read as JSON"),
        ("[" * 100_000, "cannot be read as JSON"),
        ('{"format": 1, "components": {}, "values": {"x": NaN}}', "not a finite number"),
        ('{"format": 1, "components": {}, "values": {"x": 1e999}}', "cannot be read as JSON"),
        ("[1, 2]", "not an object"),
        ('{"model_type": "bert"}', "not describe a model of speechtools"),
        ('{"format": 1, "components": {}}', "is missing"),
        ('{"format": 2, "components": {}}', "Upgrade speechtools"),
    ],
)
def test_a_config_that_is_none(model, text, token):
    (model / "config.json").write_text(text, encoding="latin-1")
    with pytest.raises(ConfigError, match=token):
        load_net(model)


def component(name, **arguments):
    return lambda config: config["components"][name].update(arguments)


@pytest.mark.parametrize(
    "change, token",
    [
        (component("quality", hidden_size=7), "lstm_.*has .* instead of"),
        (component("quality", hidden_size=10**9), "hidden_size=1000000000 of quality .* too large"),
        (component("quality", hidden_size=2000), "larger than its weights"),
        (component("quality", linear_size=-1), "quality .*cannot be built"),
        (component("quality", linear_size="many"), "linear_size='many'"),
        (component("quality", hiden_size=6), "Did you mean 'hidden_size'"),
        (component("quality", plugin="quality/blstn"), "plugins=.*--module"),
        (component("quality", plugin="encoder/lstm"), "not accept"),
        (component("quality", plugin=None), "has no plugin"),
        (component("features", n_fft=256), "does not take these features"),
        (component("features", n_fft=10**9), "n_fft=1000000000 of features .* too large"),
        (component("features", plugin="corpus/builtin"), "not accept"),
        (lambda config: config["values"].pop("scale") and None, "lacks scale, which QualityNet needs"),
        (lambda config: config["values"].update(scale=3), "scale"),
        (lambda config: config["values"].update(sample_rate=10**9), "sample_rate"),
        (lambda config: config["values"].update(sample_rate="fast"), "sample_rate"),
        (lambda config: config["values"].update(device="cuda:7"), "sets device"),
        (lambda config: config["values"].update(quality=1), "invalid name 'quality'"),
        (lambda config: config["components"].pop("quality") and None, "weights="),
        (lambda config: config.update(weights=["features", "features"]), "repeats"),
        (lambda config: config.update(weights=["features"]), "quality.* belongs to no component"),
        (lambda config: config.update(weights=3), "weights=3"),
        (lambda config: config.update(components=[]), "components="),
        (lambda config: config.update(format=True), "format=True"),
        (lambda config: config.update(more=1), "unknown key 'more'"),
        (lambda config: config.update(weights_sha256="0" * 64), "another export"),
    ],
)
def test_a_config_that_does_not_describe_the_model(model, change, token):
    edit(model, change)
    with pytest.raises(ConfigError, match=token):
        load_net(model)


def test_a_config_edited_by_hand_is_accepted_without_its_checksum(model):
    edit(model, lambda config: config["values"].update(scale="nb"), keep_sum=True)
    with pytest.raises(ConfigError, match="delete the line config_sha256"):
        load_net(model)
    edit(model, lambda config: None)
    assert load_net(model).scale == "nb"


def test_any_flipped_byte_or_truncation_is_refused_or_changes_nothing(model, tone):
    """Seeded: 300 flips of bits, changes of bytes and truncations of the two files."""
    wav, rng = torch.from_numpy(tone(0.3)), np.random.default_rng(0)
    expected = load_net(model).assess_batch(wav)[0]
    originals = {name: (model / name).read_bytes() for name in ("config.json", "model.safetensors")}
    refused = 0
    for number in range(300):
        name = ("config.json", "config.json", "model.safetensors")[number % 3]
        content = bytearray(originals[name])
        position = int(rng.integers(len(content)))
        if number % 10 == 0:
            content = content[:position]
        elif number % 2:
            content[position] ^= 1 << int(rng.integers(8))
        else:
            content[position] = int(rng.integers(256))
        (model / name).write_bytes(content)
        try:
            assert torch.equal(load_net(model).assess_batch(wav)[0], expected)
        except ConfigError:
            refused += 1
        (model / name).write_bytes(originals[name])
    assert refused > 280


# ------------------------------------------------------------------------------------------------------ earlier models

FORMER_YAML = """
sample_rate: 16000
scale: raw_nb
features: !new:speechtools.audio.features.Magnitude {log1p: true}
quality: !apply:speechtools.build {plugin: quality/blstm, hidden_size: 6, linear_size: 5}
trained_on: a test
modules:
    quality: !ref <quality>
pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
    loadables:
        quality: !ref <quality>
"""


@pytest.fixture
def former(model, tmp_path):
    """The same model as an earlier version exported it."""
    folder = tmp_path / "former"
    folder.mkdir()
    (folder / "hyperparams.yaml").write_text(FORMER_YAML)
    tensors = load((model / "model.safetensors").read_bytes())
    state = {key.removeprefix("quality."): value for key, value in tensors.items()}
    torch.save(state, folder / "quality.ckpt")
    return folder


def test_a_yaml_runs_nothing_without_trust(former, tmp_path):
    witness, yaml = tmp_path / "witness", former / "hyperparams.yaml"
    yaml.write_text(FORMER_YAML + f"bad: !apply:os.system ['touch {witness}']\n")
    for options in ({}, {"hparams_file": "hyperparams.yaml"}):
        with pytest.raises(ConfigError, match=r"any program.*trust=True.*--trust.*save"):
            load_net(former, **options)
    assert not witness.exists()
    load_net(former, trust=True)
    assert witness.exists()


def test_the_command_line_needs_trust_for_a_former_model(former, capsys):
    command = ["score", "--sample", "--model", str(former)]
    assert cli.main(command) == 1 and "--trust" in capsys.readouterr().err
    assert cli.main([*command, "--trust"]) == 0 and "street" in capsys.readouterr().out


def test_a_former_model_is_converted_by_saving_it(former, model, tone, tmp_path):
    yaml = former / "hyperparams.yaml"
    yaml.rename(former / "inference.yaml")
    net = load_net(former, trust=True, hparams_file="inference.yaml")
    again = load_net(net.save(tmp_path / "new"))
    wav = torch.from_numpy(tone(0.5))
    assert torch.equal(again.assess_batch(wav)[0], load_net(model).assess_batch(wav)[0])
    assert again.facts == {"trained_on": "a test"} and "a test" in again.card


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("hidden_size: 6", "hidden_size: 7", "quality.ckpt does not fit the model"),
        ("scale: raw_nb", "dimension: 3", "lacks scale, which QualityNet needs"),
        ("quality/blstm", "quality/blstn", "Did you mean 'quality/blstm'"),
        ("!apply:", "!aply:", "hyperparams.yaml cannot be loaded"),
    ],
)
def test_a_yaml_that_does_not_describe_the_model(former, old, new, message):
    yaml = former / "hyperparams.yaml"
    yaml.write_text(yaml.read_text().replace(old, new))
    with pytest.raises(speechtools.SpeechtoolsError, match=message):
        load_net(former, trust=True)


def test_a_truncated_or_missing_checkpoint(former):
    path = former / "quality.ckpt"
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(ConfigError, match=r"quality.ckpt \(3000 bytes\) cannot be read"):
        load_net(former, trust=True)
    path.unlink()
    with pytest.raises(ConfigError, match="weights .*quality.ckpt are missing"):
        load_net(former, trust=True)


# ---------------------------------------------------------------------------------------------------------- round trip


@pytest.mark.parametrize("interface", [QualityNet, SpeechEnhancer, SpeakerVerification])
def test_a_saved_model_is_the_same(interface, tmp_path):
    net = interface.from_hparams(run_opts={"device": "cpu"})
    again = interface.from_hparams(net.save(tmp_path / "saved"), run_opts={"device": "cpu"})
    files = [net.BUNDLED / name for name in ("config.json", "model.safetensors", "README.md")]
    for path in files[1:]:
        assert (tmp_path / "saved" / path.name).read_bytes() == path.read_bytes()
    contents = [json.loads((folder / "config.json").read_text()) for folder in (net.BUNDLED, tmp_path / "saved")]
    for content in contents:
        del content["speechtools"], content["config_sha256"]
    assert contents[0] == contents[1]
    state = again.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())


def test_a_model_with_a_plugin_of_its_own(tmp_path, registry_restored, tone):
    module = tmp_path / "my_quality_plugin.py"
    module.write_text(
        "import torch\nimport speechtools\n\n\n@speechtools.plugin('quality/mine')\nclass Mine(torch.nn.Module):\n"
        "    def __init__(self, input_size: int = 257):\n        super().__init__()\n"
        "        self.output = torch.nn.Linear(input_size, 1)\n\n    def forward(self, feats, lens=None):\n"
        "        scores = self.output(feats).squeeze(2)\n        return scores.mean(dim=1), scores\n"
    )
    speechtools.core.registry.import_module(module)
    features = speechtools.build("features/magnitude")
    net = speechtools.build("quality/mine", input_size=features.size)
    entries = {"sample_rate": 16000, "scale": "mos", "features": features, "quality": net}
    folder = speechtools.core.model_folder.write_model(tmp_path / "model", entries, {"quality": net}, {}, "")
    del speechtools.core.registry._plugins["quality/mine"]
    with pytest.raises(ConfigError, match=r"plugin 'quality/mine'.*plugins=.*--module"):
        load_net(folder)
    import sys

    del sys.modules["my_quality_plugin"]
    wav = torch.from_numpy(tone(0.3))
    scores, _ = load_net(folder, plugins=[module]).assess_batch(wav)
    assert torch.equal(scores, QualityNet({"quality": net}, entries, {"device": "cpu"}).assess_batch(wav)[0])


# ------------------------------------------------------------------------------------------------- devices, precisions


def test_a_device_may_be_an_object(pretrained):
    assert QualityNet.from_hparams(pretrained, run_opts={"device": torch.device("cpu")}).device == "cpu"


def test_a_model_loaded_in_inference_mode_passes_gradients(pretrained, tone):
    with torch.inference_mode():
        net = load_net(pretrained)
    wav = torch.from_numpy(tone(0.3)).requires_grad_()
    net.assess_batch(wav)[0].sum().backward()
    assert wav.grad.abs().max() > 0 and not any(parameter.is_inference() for parameter in net.parameters())


@pytest.mark.parametrize("interface", [QualityNet, SpeechEnhancer, SpeakerVerification])
@pytest.mark.parametrize(
    "convert, tolerance", [(nn.Module.double, 1e-4), (nn.Module.half, 0.02), (nn.Module.bfloat16, 0.1)]
)
def test_other_precisions_score_alike(interface, convert, tolerance):
    net = interface.from_hparams(run_opts={"device": "cpu"})
    process = {QualityNet: "assess_file", SpeechEnhancer: "enhance_file", SpeakerVerification: "encode_file"}[interface]

    def run():
        result = getattr(net, process)(speechtools.SAMPLE)
        return np.asarray(getattr(result, "frame_scores", result), dtype=np.float64)

    before = run()
    assert convert(net) is net and net.dtype != torch.float32
    np.testing.assert_allclose(run(), before, atol=tolerance * np.abs(before).max())
    net.float()
    np.testing.assert_allclose(run(), before, atol=tolerance * np.abs(before).max())


def test_a_model_takes_the_precision_of_new_modules(pretrained, tone):
    torch.set_default_dtype(torch.float64)
    try:
        net = load_net(pretrained)
    finally:
        torch.set_default_dtype(torch.float32)
    assert net.dtype == torch.float64
    wav = torch.from_numpy(tone(0.3))
    torch.testing.assert_close(net.assess_batch(wav)[0].float(), load_net(pretrained).assess_batch(wav)[0])


@pytest.mark.parametrize("interface", [QualityNet, SpeechEnhancer, SpeakerVerification])
def test_everything_moves_to_a_device(interface):
    net = interface.from_hparams(run_opts={"device": "cpu"}).to("meta")
    assert net.device == "meta"
    for module in (getattr(net, name, None) for name in (*net.SIGNAL_MODULES, "mods", "encoder")):
        if isinstance(module, nn.Module):
            assert all(value.is_meta for value in (*module.parameters(), *module.buffers()))


def test_weights_in_half_precision_are_half_as_large_and_loaded_as_float32(tmp_path):
    net = speechtools.build("encoder/lstm", input_size=40, hidden_size=32, embedding_size=16)
    write = speechtools.core.model_folder.write_model
    sizes = {}
    for half in (False, True):
        folder = write(tmp_path / str(half), {"encoder": net}, {"encoder": net}, {}, "", half=half)
        sizes[half] = (folder / "model.safetensors").stat().st_size
    assert 0.5 <= sizes[True] / sizes[False] < 0.6
    read = speechtools.core.model_folder.read_model(tmp_path / "True", {"encoder": "encoder"}, "SpeakerEncoder")
    for key, value in read.modules["encoder"].state_dict().items():
        assert value.dtype == torch.float32 and torch.equal(value, net.state_dict()[key].half().float())
    edit(tmp_path / "True", lambda config: config.update(precision="int8"))
    with pytest.raises(ConfigError, match="precision='int8'"):
        speechtools.core.model_folder.read_model(tmp_path / "True", {"encoder": "encoder"}, "SpeakerEncoder")
    net.linear.weight.data[0, 0] = 1e6
    with pytest.raises(ConfigError, match=r"encoder.linear.weight has values up to 1e\+06, too large for float16"):
        write(tmp_path / "large", {"encoder": net}, {"encoder": net}, {}, "", half=True)


def test_a_model_with_weights_in_half_precision_is_saved_as_such(model, tmp_path):
    def halve(tensors):
        return {key: value.half() for key, value in tensors.items()}

    edit_weights(model, halve)
    edit(model, lambda config: config.update(precision="float16"))
    net = load_net(model)
    assert net.half_weights and next(net.mods.parameters()).dtype == torch.float32
    again = load(net.save(tmp_path / "again").joinpath("model.safetensors").read_bytes())
    before = load((model / "model.safetensors").read_bytes())
    assert all(again[key].dtype == torch.float16 and torch.equal(again[key], before[key]) for key in before)


def test_an_error_about_another_kind_of_model_comes_back_from_processes(model):
    with pytest.raises(ModelKindError) as caught:
        SpeakerVerification.from_hparams(model)
    copied = pickle.loads(pickle.dumps(caught.value))
    assert str(copied) == str(caught.value) and copied.interface == "QualityNet"
