"""Loading trained models from folders, by name and from the hub."""

import shutil
from pathlib import Path

import pytest
import torch

from speechtools.core.errors import ConfigError, SpeechtoolsError
from speechtools.inference import PretrainedModel, QualityNet


@pytest.fixture
def model(pretrained, tmp_path):
    """A copy to damage."""
    return shutil.copytree(pretrained, tmp_path / "model")


def load(source):
    return QualityNet.from_hparams(source, run_opts={"device": "cpu"})


def test_bundled_models_are_loaded_by_name(tone):
    wav = torch.from_numpy(tone(1.0))
    default, same, other = (
        float(load(name).assess_batch(wav)[0]) for name in (None, "quality-net", Path("quality-net-enhanced"))
    )
    assert default == same and abs(default - other) > 0.01


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("/nowhere/pretrained", "does not exist .*nearest existing parent"),
        ("quality-net-enhansed", "Did you mean 'quality-net-enhanced'"),
        ("", "name of the model is empty"),
        ("speaker", "a model of another kind"),
        (".git", "has no hyperparams.yaml"),
        ("setup.cfg", "setup.cfg is a file"),
    ],
)
def test_sources_that_cannot_be_loaded(tmp_path, monkeypatch, source, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".git").mkdir()
    (tmp_path / "setup.cfg").touch()
    with pytest.raises(ConfigError, match=message):
        load(source)
    with pytest.raises(ConfigError, match="PretrainedModel has no bundled model"):
        PretrainedModel.from_hparams()


def test_a_hub_id_is_downloaded(pretrained, monkeypatch):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, **options: {"owner/name": pretrained}[name])
    assert load("owner/name").scale == "raw_nb"
    with pytest.raises(ConfigError, match="'owner/other' is not a local folder, and cannot be downloaded .*KeyError"):
        load("owner/other")


def test_a_truncated_or_missing_checkpoint(model):
    path = model / "quality.ckpt"
    for size in (3000, 0):
        path.write_bytes(path.read_bytes()[:size])
        with pytest.raises(ConfigError, match=rf"quality.ckpt \({size} bytes\) cannot be read"):
            load(model)
    path.unlink()
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
    yaml = model / "hyperparams.yaml"
    yaml.write_text(yaml.read_text().replace(old, new))
    with pytest.raises(SpeechtoolsError, match=message):
        load(model)
