"""Loading trained models from folders, by name and from the hub."""

import shutil
from pathlib import Path

import pytest
import torch

from speechtools.core.errors import ConfigError
from speechtools.inference import PretrainedModel, QualityNet


@pytest.fixture
def model(pretrained, tmp_path):
    """A copy to damage."""
    return shutil.copytree(pretrained, tmp_path / "model")


def edit(model, old, new):
    yaml = model / "hyperparams.yaml"
    yaml.write_text(yaml.read_text().replace(old, new))


def load(source):
    return QualityNet.from_hparams(source, run_opts={"device": "cpu"})


def test_source_may_be_text_or_path(pretrained):
    wav = torch.randn(1, 4000)
    assert torch.equal(load(str(pretrained)).assess_batch(wav)[0], load(pretrained).assess_batch(wav)[0])


@pytest.mark.parametrize("source", ["/nowhere/pretrained", "./results/qnet/pretrained", "missing", "a/b/c"])
def test_a_missing_folder_is_not_taken_for_a_hub_id(source):
    with pytest.raises(ConfigError, match="There is no folder .* nearest existing parent"):
        load(source)


def test_bundled_models_are_loaded_by_name(tone):
    wav = torch.from_numpy(tone(1.0))
    default, same, other = (
        float(load(name).assess_batch(wav)[0]) for name in (None, "quality-net", Path("quality-net-enhanced"))
    )
    assert default == same and abs(default - other) > 0.01


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("quality-net-enhansed", "Did you mean 'quality-net-enhanced'"),
        ("", "name of the model is empty"),
        ("speaker", "a model of another kind"),
    ],
)
def test_names_that_cannot_be_loaded(source, message):
    with pytest.raises(ConfigError, match=message):
        load(source)


def test_a_hub_id_is_downloaded(pretrained, monkeypatch):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, **options: {"owner/name": pretrained}[name])
    assert load("owner/name").scale == "raw_nb"
    with pytest.raises(ConfigError, match="'owner/other' is not a local folder, and cannot be downloaded .*KeyError"):
        load("owner/other")


def test_an_interface_without_a_bundled_model():
    class Other(PretrainedModel):
        """Without BUNDLED."""

    with pytest.raises(ConfigError, match="Other has no bundled model"):
        Other.from_hparams()


def test_a_folder_without_a_model(model, tmp_path):
    with pytest.raises(ConfigError, match="has no hyperparams.yaml"):
        load(tmp_path)
    with pytest.raises(ConfigError, match="quality.ckpt is a file"):
        load(model / "quality.ckpt")


@pytest.mark.parametrize("size", [0, 100, 3000])
def test_a_truncated_checkpoint(model, size):
    path = model / "quality.ckpt"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ConfigError, match=rf"quality.ckpt \({size} bytes\) cannot be read"):
        load(model)


def test_a_missing_checkpoint(model):
    (model / "quality.ckpt").unlink()
    with pytest.raises(ConfigError, match="weights .*quality.ckpt are missing"):
        load(model)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("hidden_size: 6", "hidden_size: 7", "quality.ckpt does not fit the model"),
        ("scale: raw_nb", "dimension: 3", "lacks scale, which QualityNet needs"),
        ("quality/blstm", "quality/blstn", "Did you mean 'quality/blstm'"),
        ("!apply:", "!aply:", "hyperparams.yaml cannot be loaded"),
    ],
)
def test_a_yaml_that_does_not_describe_the_model(model, old, new, message):
    edit(model, old, new)
    with pytest.raises(ConfigError if "Did you" not in message else ValueError, match=message):
        load(model)
