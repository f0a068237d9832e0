"""What all pretrained interfaces share: a trained model is a folder, loaded where it lies or fetched from the hub."""

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
#: The models that come with the package, a folder each.
BUNDLED_MODELS = Path(__file__).parents[1] / "pretrained"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


class PretrainedModel(Pretrained):
    """A trained model loaded from its ``pretrained/`` folder; subclasses say what they need of it and what it does.

    A folder is read where it lies. SpeechBrain's own loader goes through a cache of links instead, in which an older
    model of the same name wins over a changed source, and takes a mistyped path for a name on the hub.
    """

    #: The model that comes with the package, where one does.
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
        source : str or Path
            A folder that a recipe's ``pretrained/`` is; the name of a model that comes with the package, as
            ``quality-net-enhanced``; or the id ``owner/name`` of a repository on the Hugging Face hub that holds such a
            folder's files. Only the last touches the network. None: the interface's own model of the package.
        hparams_file : str
            The yaml in it.
        run_opts : dict
            SpeechBrain's options, as ``{"device": "cuda"}``.
        savedir : str or Path
            Where a model from the hub is kept; its default is the hub's own cache.

        Raises
        ------
        ConfigError
            The source does not exist, lacks a file, holds a checkpoint that was cut short, or a model of another kind.
        """
        source = cls.BUNDLED if source is None else source
        if source is None:
            raise ConfigError(
                f"No model of {cls.__name__} comes with the package. Give source=…, a folder or the id of a model on "
                "the hub."
            )
        folder = _fetch(source, hparams_file, savedir)
        yaml = folder / hparams_file
        if not yaml.is_file():
            raise ConfigError(
                f"{folder} holds no {hparams_file}, so it is no trained model. Give the folder `pretrained` that a "
                "recipe writes at the end of its training."
            )
        try:
            with open(yaml, encoding="utf-8") as stream:
                hparams = load_hyperpyyaml(stream)
        except SpeechtoolsError:
            raise
        except (YAMLError, ImportError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise ConfigError(
                f"{yaml} cannot be loaded ({type(error).__name__}: {error}). It was edited or exported by another "
                "version, or needs a module that is not installed: export the model again."
            ) from error
        hparams = hparams or {}
        modules = hparams.get("modules", {})
        missing = [key for key in cls.HPARAMS_NEEDED if key not in hparams]
        missing += [f"modules: {key}" for key in cls.MODULES_NEEDED if key not in modules]
        if missing:
            raise ConfigError(
                f"{yaml} lacks {', '.join(missing)}, which {cls.__name__} needs: it is a model of another kind, or was "
                "exported by another version. Load it with the interface it was made for, or export it again."
            )
        for name, module in modules.items():
            _load_weights(module, folder / f"{name}.ckpt")
        try:
            model = cls(modules, hparams, run_opts)
        except (RuntimeError, AssertionError) as error:
            device = (run_opts or {}).get("device", "its device")
            raise ConfigError(
                f"The model cannot be put on {device}: {str(error).splitlines()[0]} "
                "Use cpu, or a GPU that this machine has."
            ) from error
        # Parameters stay frozen, but cuDNN hands gradients through to the waveform only in training mode, which
        # for a recurrent layer without dropout is the same.
        for module in model.mods.modules():
            if isinstance(module, nn.RNNBase) and module.dropout == 0:
                module.train()
        return model

    def check_rate(self, sample_rate: int) -> None:
        """Refuse to be used on audio of another sample rate (Hz) than the model was trained with.

        Raises
        ------
        ConfigError
            The rates differ.
        """
        if self.hparams.sample_rate != sample_rate:
            raise ConfigError(
                f"This {type(self).__name__} was trained at {self.hparams.sample_rate} Hz, and the recipe has "
                f"sample_rate={sample_rate}: it would hear everything too high or too low. Give a model of that rate, "
                "or set sample_rate to the model's."
            )


def _fetch(source: str | Path, hparams_file: str, savedir: str | Path | None) -> Path:
    """The local folder of a model: itself, or downloaded from the hub where ``source`` is an id."""
    folder = Path(source).expanduser()
    bundled = sorted(path.name for path in BUNDLED_MODELS.iterdir())
    if source == "":
        raise ConfigError(f"The model's name is empty. Give a folder, a hub id or one of {', '.join(bundled)}.")
    if folder.is_dir():
        return folder
    if str(source) in bundled:
        return BUNDLED_MODELS / source
    if folder.exists():
        raise ConfigError(f"{source} is a file. Give the folder `pretrained` that a recipe writes, which holds it.")
    is_id = isinstance(source, str) and _HUB_ID.fullmatch(source) and not Path(source.split("/")[0]).exists()
    if not is_id:
        place = next(parent for parent in folder.absolute().parents if parent.exists())
        hint = did_you_mean(source, bundled) if folder.parent == Path() else ""
        raise ConfigError(
            f"There is no folder {source} (the nearest one that exists is {place}). Give the folder `pretrained` "
            "that a recipe writes at the end of its training, the id owner/name of a model on the hub, or a model of "
            f"the package: {', '.join(bundled)}.{hint}"
        )
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(str(source), allow_patterns=[hparams_file, "*.ckpt"], local_dir=savedir))
    except Exception as error:  # the hub's client raises many kinds, all of them meaning: not to be had
        raise ConfigError(
            f"{source!r} is no folder here, and as the id of a model on the hub it could not be fetched "
            f"({type(error).__name__}: {str(error).splitlines()[0]}). Mend the path, or check the id and the network."
        ) from error


def _load_weights(module: nn.Module, path: Path) -> None:
    if not path.is_file():
        raise ConfigError(f"The model's weights {path} are missing. Export the model again, or copy the whole folder.")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise ConfigError(
            f"The checkpoint {path} ({path.stat().st_size} bytes) cannot be read: it was cut short or is no "
            "checkpoint. Copy it again, or export the model again."
        ) from error
    try:
        module.load_state_dict(state)
    except (RuntimeError, AttributeError, TypeError) as error:
        raise ConfigError(
            f"The checkpoint {path} does not fit the model that the yaml beside it describes: {error} "
            "The two files must come from one export."
        ) from error
