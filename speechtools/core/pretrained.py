"""Load a trained model from a folder or from the Hugging Face hub."""

import pickle
import re
from pathlib import Path
from typing import Any, TypeVar

import torch
from hyperpyyaml import load_hyperpyyaml
from ruamel.yaml.error import YAMLError
from speechbrain.inference.interfaces import Pretrained
from torch import nn

from speechtools.core.errors import ConfigError, SpeechtoolsError
from speechtools.core.registry import did_you_mean

Model = TypeVar("Model", bound="PretrainedModel")
#: The folder of the bundled models.
BUNDLED_MODELS = Path(__file__).parents[1] / "pretrained"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


class PretrainedModel(Pretrained):
    """Base class of the interfaces to trained models.

    A folder is read where it is. SpeechBrain's own loader goes through a cache of links, in which a stale model can win
    over a changed source, and takes a mistyped path for a name on the hub.
    """

    #: The model that :meth:`from_hparams` loads by default.
    #:
    #: :meta hide-value:
    BUNDLED: Path | None = None

    @classmethod
    def from_hparams(
        cls: type[Model],
        source: str | Path | None = None,
        hparams_file: str = "hyperparams.yaml",
        run_opts: dict[str, Any] | None = None,
        savedir: str | Path | None = None,
    ) -> Model:
        """Load a trained model.

        Parameters
        ----------
        source : str or Path, optional
            A recipe's ``pretrained`` folder, the name of a bundled model such as ``quality-net-enhanced``, or the id
            ``owner/name`` of a repository on the Hugging Face hub. Default: the bundled model of this interface.
        hparams_file : str
            Name of the yaml file in the folder.
        run_opts : dict, optional
            SpeechBrain's run options, such as ``{"device": "cuda"}``.
        savedir : str or Path, optional
            Where a model from the hub is stored. Default: the hub's cache.

        Raises
        ------
        ConfigError
            The source does not exist, lacks a file, has a damaged checkpoint, or is a model of another kind.
        """
        source = cls.BUNDLED if source is None else source
        if source is None:
            raise ConfigError(f"{cls.__name__} has no bundled model. Pass source=…, a folder or the id of a hub model.")
        folder = _find_folder(source, hparams_file, savedir)
        yaml = folder / hparams_file
        hparams = _load_yaml(yaml)
        modules = hparams.get("modules", {})
        missing = [key for key in cls.HPARAMS_NEEDED if key not in hparams]
        missing += [f"modules: {key}" for key in cls.MODULES_NEEDED if key not in modules]
        if missing:
            raise ConfigError(
                f"{yaml} lacks {', '.join(missing)}, which {cls.__name__} needs: it is a model of another kind. "
                "Load it with its own interface, or export it again."
            )
        for name, module in modules.items():
            _load_weights(module, folder / f"{name}.ckpt")
        try:
            model = cls(modules, hparams, run_opts)
        except (RuntimeError, AssertionError) as error:
            device = (run_opts or {}).get("device", "its device")
            raise ConfigError(f"The model cannot be put on {device}: {str(error).splitlines()[0]}") from error
        # cuDNN passes gradients to the waveform in training mode only, which without dropout computes the same.
        for module in model.mods.modules():
            if isinstance(module, nn.RNNBase) and module.dropout == 0:
                module.train()
        return model

    def check_rate(self, sample_rate: int) -> None:
        """Raise an error if audio has another sample rate (Hz) than the model.

        Raises
        ------
        ConfigError
            The rates differ.
        """
        if self.hparams.sample_rate != sample_rate:
            trained = f"This {type(self).__name__} was trained at {self.hparams.sample_rate} Hz"
            raise ConfigError(f"{trained}, but the recipe has sample_rate={sample_rate}. Use a model of that rate.")


def _find_folder(source: str | Path, hparams_file: str, savedir: str | Path | None) -> Path:
    """Return the local folder of a model; a hub id is downloaded."""
    folder = Path(source).expanduser()
    bundled = sorted(path.name for path in BUNDLED_MODELS.iterdir())
    if source == "":
        raise ConfigError(f"The name of the model is empty. Pass a folder, a hub id or one of {', '.join(bundled)}.")
    if folder.is_dir():
        return folder
    if str(source) in bundled:
        return BUNDLED_MODELS / source
    if folder.exists():
        raise ConfigError(f"{source} is a file. Pass the `pretrained` folder that contains it.")
    is_id = isinstance(source, str) and _HUB_ID.fullmatch(source) and not Path(source.split("/")[0]).exists()
    if not is_id:
        parent = next(parent for parent in folder.absolute().parents if parent.exists())
        hint = did_you_mean(source, bundled) if folder.parent == Path() else ""
        raise ConfigError(
            f"The folder {source} does not exist (its nearest existing parent is {parent}). Pass the `pretrained` "
            f"folder of a recipe, the id owner/name of a hub model, or a bundled model: {', '.join(bundled)}.{hint}"
        )
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(str(source), allow_patterns=[hparams_file, "*.ckpt"], local_dir=savedir))
    except Exception as error:  # the client raises many types
        reason = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        raise ConfigError(
            f"{source!r} is not a local folder, and cannot be downloaded ({reason}). Check the path or the network."
        ) from error


def _load_yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ConfigError(f"{path.parent} has no {path.name}. Pass the `pretrained` folder that a recipe writes.")
    try:
        with open(path, encoding="utf-8") as stream:
            return load_hyperpyyaml(stream) or {}
    except SpeechtoolsError:
        raise
    except (YAMLError, ImportError, ValueError, TypeError, KeyError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ConfigError(f"{path} cannot be loaded ({reason}). Export the model again.") from error


def _load_weights(module: nn.Module, path: Path) -> None:
    if not path.is_file():
        raise ConfigError(f"The weights {path} are missing. Copy the whole folder, or export the model again.")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError) as error:
        size = path.stat().st_size
        raise ConfigError(
            f"The checkpoint {path} ({size} bytes) cannot be read: it is damaged. Copy it again."
        ) from error
    try:
        module.load_state_dict(state)
    except (RuntimeError, AttributeError, TypeError) as error:
        remedy = "Both files must come from one export."
        raise ConfigError(f"The checkpoint {path} does not fit the model in its yaml file: {error} {remedy}") from error
