"""Load a trained model from a folder or from the Hugging Face hub, and save it."""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from speechbrain.inference.interfaces import Pretrained
from speechbrain.utils.run_opts import RunOptions
from torch import Tensor, nn

from speechtools.core import registry
from speechtools.core.checks import check_number
from speechtools.core.devices import check_device
from speechtools.core.errors import ConfigError, SpeechtoolsError
from speechtools.core.files import fingerprint
from speechtools.core.former_models import YAML, read_former_model
from speechtools.core.model_card import model_card
from speechtools.core.model_folder import CARD, CONFIG, FILES, Model, read_model, write_model
from speechtools.core.spelling import did_you_mean

AnyModel = TypeVar("AnyModel", bound="PretrainedModel")
#: The folder of the bundled models.
BUNDLED_MODELS = Path(__file__).parents[1] / "pretrained"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


class PretrainedModel(Pretrained):
    """Base class of the interfaces to trained models.

    A folder is read where it is. SpeechBrain's own loader goes through a cache of links, in which a stale model can win
    over a changed source, takes a mistyped path for a name on the hub, and runs whatever a model's yaml says.

    Attributes
    ----------
    facts : dict
        What the model was trained on, and its metrics.
    card : str or None
        Content of the folder's ``README.md``.
    """

    #: The model that :meth:`from_hparams` loads by default.
    #:
    #: :meta hide-value:
    BUNDLED: Path | None = None
    device: str
    #: The components of a model: name and kind of plugin. A model with others is refused.
    COMPONENTS: dict[str, str] = {}
    #: The task of the model on the Hugging Face hub.
    HUB_TASK = "audio-classification"
    #: Attributes that work on waveforms. In half precision they stay in float32, as their range and the FFT need it.
    SIGNAL_MODULES = ("features", "spectrum", "vad", "segment")
    #: Values and components that are fitted to the weights, so that other weights need others.
    FITTED: tuple[str, ...] = ()

    def __init__(
        self,
        modules: dict[str, nn.Module] | None = None,
        hparams: dict[str, Any] | None = None,
        run_opts: Any = None,
        freeze_params: bool = True,
    ):
        if isinstance(run_opts, dict) and run_opts.get("device") is not None:
            # As text, which SpeechBrain expects, and with a number, without which it prints a warning.
            run_opts = run_opts | {"device": check_device(run_opts["device"])}
        hparams = dict(hparams or {})
        if "sample_rate" in self.HPARAMS_NEEDED:
            check_number("sample_rate", hparams.get("sample_rate"), 1000, 192_000, whole=True)
        super().__init__(modules, hparams, run_opts, freeze_params)
        self.facts: dict[str, Any] = dict(hparams.get("facts") or {})
        self.card: str | None = None
        self.half_weights = False  # whether they were written as float16
        # cuDNN passes gradients to the waveform in training mode only, which without dropout computes the same.
        for module in self.mods.modules():
            if isinstance(module, nn.RNNBase) and module.dropout == 0:
                module.train()

    @classmethod
    def from_hparams(
        cls: type[AnyModel],
        source: str | Path | None = None,
        hparams_file: str | None = None,
        run_opts: dict[str, Any] | None = None,
        savedir: str | Path | None = None,
        trust: bool = False,
        plugins: str | Path | Iterable[str | Path] = (),
    ) -> AnyModel:
        """Load a trained model. No code of the model is run, unless you ``trust`` a model of an earlier version.

        Parameters
        ----------
        source : str or Path, optional
            A recipe's ``pretrained`` folder, the name of a bundled model such as ``quality-net``, or the id
            ``owner/name`` of a repository on the Hugging Face hub. Default: the bundled model of this interface.
        hparams_file : str, optional
            Name of the yaml file in the folder of a model of an earlier version. Default: ``hyperparams.yaml``.
        run_opts : dict, optional
            SpeechBrain's run options, such as ``{"device": "cuda"}``.
        savedir : str or Path, optional
            Where a model from the hub is stored. Default: the hub's cache.
        trust : bool
            Load a folder of an earlier version, which has a yaml file instead of ``config.json``. The yaml can run any
            program, so trust only what you or people you know have made, and convert it with :meth:`save`.
        plugins : sequence of str or Path
            Modules of yours to import first, which register plugins that the model needs: files or names of modules.

        Raises
        ------
        ConfigError
            The source does not exist, is incomplete or damaged, is a model of another kind or of an earlier version, or
            needs a plugin that is not registered.
        PluginError
            A module of ``plugins`` cannot be imported.
        """
        source = cls.BUNDLED if source is None else source
        if source is None:
            raise ConfigError(f"{cls.__name__} has no bundled model. Pass source=…, a folder or the id of a hub model.")
        for module in [plugins] if isinstance(plugins, str | Path) else plugins:
            registry.import_module(module)
        files = [*FILES, hparams_file or YAML, "*.ckpt"] if trust else [*FILES]
        folder = find_folder(source, files, savedir)
        with torch.inference_mode(False):  # weights made in inference mode would never pass gradients
            model = cls._from_content(cls._read(folder, hparams_file, trust), folder, run_opts)
        if (folder / CARD).is_file():
            model.card = (folder / CARD).read_text(encoding="utf-8", errors="replace")
        return model

    @classmethod
    def _read(cls, folder: Path, hparams_file: str | None, trust: bool) -> Model:
        yaml = hparams_file or YAML
        if (folder / CONFIG).exists() and not (hparams_file and (folder / yaml).is_file()):
            return read_model(folder, cls.COMPONENTS, cls.__name__)
        if trust:
            return cls._of_former(read_former_model(folder, yaml))
        if (folder / yaml).is_file():
            raise ConfigError(
                f"{folder} is a model of an earlier version: its {yaml} can run any program on your computer. If you "
                "trust its origin, load it with trust=True (--trust), and convert it: "
                f"{cls.__name__}.from_hparams({str(folder)!r}, trust=True).save('new-folder')."
            )
        raise ConfigError(
            f"{folder} has no {CONFIG}. Pass the `pretrained` folder that a recipe writes. If a model of an earlier "
            "version comes from an origin that you trust, pass trust=True (--trust)."
        )

    @classmethod
    def _of_former(cls, model: Model) -> Model:
        """Adapt the content of a folder of an earlier version."""
        return model

    @classmethod
    def _from_content(cls: type[AnyModel], content: Model, folder: Path, run_opts: dict[str, Any] | None) -> AnyModel:
        hparams = content.values | content.components
        missing = [key for key in cls.HPARAMS_NEEDED if key not in hparams]
        missing += [f"modules: {key}" for key in cls.MODULES_NEEDED if key not in content.modules]
        if missing:
            raise ConfigError(
                f"{folder} lacks {', '.join(missing)}, which {cls.__name__} needs: it is a model of another kind. "
                "Load it with its own interface, or export it again."
            )
        if reserved := hparams.keys() & RunOptions().as_dict().keys():
            raise ConfigError(f"{folder} sets {', '.join(sorted(reserved))}, which is for you to set in run_opts.")
        try:
            model = cls(content.modules, hparams | {"facts": content.facts}, run_opts)
        except SpeechtoolsError:
            raise
        except (RuntimeError, AssertionError) as error:
            device = (run_opts or {}).get("device", "its device")
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise ConfigError(f"The model cannot be put on {device}: {reason}") from error
        except Exception as error:  # of values that no export writes
            reason = f"{type(error).__name__}: {error}"
            raise ConfigError(f"{folder} does not describe a {cls.__name__} ({reason}). Export it again.") from error
        model.half_weights = content.half
        return model

    @property
    def model_id(self) -> str:
        """A fingerprint of the weights, the components and the numbers that the model works with."""
        weights = {key: f"{float(value.double().abs().sum()):.6e}" for key, value in self.mods.state_dict().items()}
        values = vars(self.hparams).items()
        numbers = {key: value for key, value in values if isinstance(value, bool | int | float | str)}
        plugins = {key: definition for key, value in values if (definition := registry.definition(value))}
        return fingerprint({"weights": weights, "values": numbers, "components": plugins})

    def save(self, folder: str | Path) -> Path:
        """Write the model to a folder that :meth:`from_hparams` loads: config.json, model.safetensors and README.md.

        The weights are written as float32, or as float16 if they were loaded as such. The card is that of the folder
        the model was loaded from.

        Returns
        -------
        Path
            The folder.

        Raises
        ------
        ConfigError
            A component was not built by ``speechtools.build``.
        """
        entries = {key: value for key, value in vars(self.hparams).items() if key != "facts"}
        card = self.card or model_card(type(self), entries, self.facts)
        modules = {name: getattr(module, "_orig_mod", module) for name, module in self.mods.items()}  # not compiled
        return write_model(folder, entries, modules, self.facts, card, type(self).__name__, self.half_weights)

    @classmethod
    def from_onnx(cls, path: str | Path, threads: int | None = None) -> Any:
        """Load a model that :meth:`to_onnx` or ``speechtools export`` wrote, to compute without torch.

        Parameters
        ----------
        path : str or Path
        threads : int, optional
            Threads of a computation. Default: as many as the machine has cores.

        Returns
        -------
        OnnxModel
            With the methods of this interface that take recordings.

        Raises
        ------
        ConfigError
            The file does not exist, is damaged or of another program, or is a model of another kind.
        SpeechtoolsError
            The package ``onnxruntime`` of the extra ``onnx`` is not installed.
        """
        raise ConfigError(f"{cls.__name__} has no form in ONNX. Load the model with from_hparams.")

    def to_onnx(self, path: str | Path, int8: bool = False, overwrite: bool = False) -> Any:
        """Write the model, features included, to an ONNX file, and check that it computes the same.

        Parameters
        ----------
        path : str or Path
            A name that ends in ``.onnx``.
        int8 : bool
            Quantise the weights of the network to 8 bits.
        overwrite : bool
            Replace an existing file.

        Returns
        -------
        OnnxExport
            With the differences from torch that were found.

        Raises
        ------
        ConfigError
            The path cannot be written, the model has a component without a form in ONNX, or the results differ from
            those of torch by more than 1e-4.
        SpeechtoolsError
            A package of the extra ``onnx`` is not installed.
        """
        from speechtools.core.onnx_export import export_model  # needs packages of an extra

        return export_model(self, path, int8, overwrite)

    def onnx_graph(self) -> Any:
        """Return what :meth:`to_onnx` writes, an :class:`~speechtools.core.onnx_export.OnnxGraph`."""
        raise ConfigError(f"{type(self).__name__} has no form in ONNX.")

    def response(self, wavs: Tensor) -> Tensor | None:
        """What the model computes from waveforms (1, samples), to compare two models; None: it cannot be compared."""
        return None

    def drop_fitted(self) -> list[str]:
        """Drop what was fitted to former weights, after they have changed, and return its names."""
        return []

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        return next((value.dtype for value in self.mods.parameters() if value.is_floating_point()), torch.float32)

    def _to_signal(self, wavs: Tensor) -> Tensor:
        """Waveforms, or results, on the device of the model in the precision of its features: float32, or float64."""
        return wavs.to(self.device, torch.promote_types(self.dtype, torch.float32))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "PretrainedModel":
        """Move or convert all tensors, as ``to``, ``half`` and ``double`` do."""
        signal = [
            getattr(self, name) for name in self.SIGNAL_MODULES if isinstance(getattr(self, name, None), nn.Module)
        ]
        before = [
            (owner, key, value)
            for module in signal
            for owner in module.modules()
            for key, value in owner._buffers.items()
        ]
        super()._apply(fn, recurse)
        for owner, key, value in before:
            converted = owner._buffers[key]
            if value is not None and converted is not None and converted.dtype in (torch.float16, torch.bfloat16):
                owner._buffers[key] = value.to(converted.device)
        for value in (*self.parameters(), *self.buffers()):
            self.device = str(value.device)
        return self

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


def find_folder(source: str | Path, files: Sequence[str] = FILES, savedir: str | Path | None = None) -> Path:
    """Return the local folder of a model; of a hub id, these files are downloaded.

    Raises
    ------
    ConfigError
        There is no such folder, or it cannot be downloaded.
    """
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
        return Path(snapshot_download(str(source), allow_patterns=[*files], local_dir=savedir))
    except Exception as error:  # the client raises many types
        reason = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        raise ConfigError(
            f"{source!r} is not a local folder, and cannot be downloaded ({reason}). Check the path or the network."
        ) from error
