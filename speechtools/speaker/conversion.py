"""Convert speaker encoders of other GE2E projects to model folders.

The project determines what its checkpoint does not contain: features, windows and the detection of speech.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from speechtools.core import registry
from speechtools.core.checks import check_number
from speechtools.core.errors import ConfigError, first_of
from speechtools.core.model_card import model_card
from speechtools.core.model_folder import check_model_folder, write_model
from speechtools.core.spelling import did_you_mean
from speechtools.speaker import dvectors
from speechtools.speaker.checkpoints import Checkpoint, read_checkpoint
from speechtools.speaker.verification import SpeakerVerification

#: Of all projects.
SAMPLE_RATE = 16000


@dataclass(frozen=True)
class Project:
    """How a project turns a recording into a d-vector.

    Attributes
    ----------
    title : str
        Its name in messages and cards.
    networks : tuple of str
        Names in :data:`NETWORKS` of the networks that it has.
    features : dict
        Arguments of ``features/centred-mel``.
    vad : str
        Plugin of the kind ``vad``, without the kind.
    window_hop_frames : int
        Step of windows of 160 frames.
    min_coverage : float or None
        See :func:`speechtools.speaker.dvectors.covered_frames`.
    same_speaker : float or None
        Cosine from which diarization takes two speakers for one; None: that of the bundled model.
    """

    title: str
    networks: tuple[str, ...]
    features: Mapping[str, Any]
    vad: str
    window_hop_frames: int
    min_coverage: float | None
    same_speaker: float | None


@dataclass(frozen=True)
class Network:
    """A network that checkpoints contain.

    Attributes
    ----------
    description : str
        Its layers, for messages.
    plugin : str
        The encoder that computes the same.
    options : dict
        Arguments of the encoder.
    names : dict
        Names of layers in the checkpoint, and those of the encoder. ``lstm`` is the same in all.
    ignored : tuple of str
        Names of weights that the encoder does not need.
    """

    description: str
    plugin: str
    options: Mapping[str, Any]
    names: Mapping[str, str]
    ignored: tuple[str, ...] = ()


NETWORKS = {
    "lstm-relu": Network(
        "LSTM, linear, ReLU (lstm.*, linear.*)",
        "encoder/lstm",
        {"relu": True},
        {"linear": "linear"},
        ("similarity_weight", "similarity_bias"),
    ),
    "lstm": Network("LSTM, linear (lstm.*, embedding.*)", "encoder/lstm", {}, {"embedding": "linear"}),
    "lstm-attention": Network(
        "LSTM, linear, attention (lstm.*, embedding.*, linear.*)",
        "encoder/lstm-attention",
        {},
        {"embedding": "linear", "linear": "attention"},
        ("linear.bias",),  # the softmax ignores it
    ),
}
#: Between d-vectors whose elements are all positive, cosines are larger. Chosen on composed conversations.
_SAME_SPEAKER_RELU = 0.98
_LOG_MEL = {"f_min": 50.0, "mel": "htk", "scale": "log", "level_db": -3.0, "level_of": "peak", "only_up": False}
PROJECTS = {
    "resemblyzer": Project("Resemblyzer", ("lstm-relu",), {}, "webrtc-smoothed", 77, 0.75, _SAME_SPEAKER_RELU),
    "real-time-voice-cloning": Project(
        "Real-Time-Voice-Cloning", ("lstm-relu",), {}, "webrtc-smoothed", 80, 0.75, _SAME_SPEAKER_RELU
    ),
    "dvector": Project("yistLin/dvector", ("lstm", "lstm-attention"), _LOG_MEL, "energy", 80, None, None),
}
_LAYER = re.compile(r"lstm\.(weight|bias)_(ih|hh)_l(\d+)")


def convert(
    project: str,
    checkpoint: str | Path,
    folder: str | Path,
    *,
    threshold: float | None = None,
    vad: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the encoder in a checkpoint of another project as a folder that the interfaces and commands load.

    Parameters
    ----------
    project : str
        A name in :data:`PROJECTS`, such as ``"resemblyzer"``.
    checkpoint : str or Path
        The file. Only its tensors are read.
    folder : str or Path
        Where to write the model.
    threshold : float, optional
        Threshold of verification. Default: none; each decision needs one.
    vad : str, optional
        Plugin that detects speech, such as ``"energy"``. Default: the project's.
    overwrite : bool
        Replace a model in ``folder``.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ConfigError
        The project is unknown; the checkpoint is missing, damaged, or has another network than the project; the folder
        is not empty; or a value is out of range.
    """
    if project not in PROJECTS:
        hint = did_you_mean(project, PROJECTS)
        raise ConfigError(f"Unknown project {project!r}.{hint} Known are {', '.join(PROJECTS)}.")
    known = PROJECTS[project]
    folder = Path(folder).expanduser()
    check_model_folder(folder, overwrite)
    if threshold is not None:
        check_number("threshold", threshold, -1, 1)
    content = read_checkpoint(checkpoint)
    encoder = _encoder(content.tensors, project, Path(checkpoint))
    name = vad or known.vad
    try:
        detector = registry.build(f"vad/{name}", sample_rate=SAMPLE_RATE)
    except ConfigError as error:  # its package is missing
        if vad is not None:
            raise
        raise ConfigError(
            f"{known.title} detects speech with vad/{name}: {error} --vad energy changes the d-vectors slightly."
        ) from error
    n_mels = encoder.lstm.input_size
    features = registry.build("features/centred-mel", sample_rate=SAMPLE_RATE, n_mels=n_mels, **known.features)
    entries = {
        "sample_rate": SAMPLE_RATE,
        "window_frames": 160,
        "window_hop_frames": known.window_hop_frames,
        "features": features,
        "vad": detector,
        "encoder": encoder,
        "threshold": threshold,
        "probe": dvectors.probe(features, encoder, SAMPLE_RATE),
    }
    further = {"min_coverage": known.min_coverage, "same_speaker": known.same_speaker}
    entries |= {key: value for key, value in further.items() if value is not None}
    facts = _facts(known, content, Path(checkpoint), threshold)
    card = model_card(SpeakerVerification, {"sample_rate": SAMPLE_RATE}, facts)
    return write_model(folder, entries, {"encoder": encoder}, facts, card + _card(known, facts), "SpeakerVerification")


def _encoder(tensors: dict[str, Tensor], project: str, path: Path) -> Any:
    """Build the encoder that has the weights of a checkpoint of ``project``."""
    fitting = [name for name in NETWORKS if _sizes(tensors, NETWORKS[name]) is not None]
    if not fitting:
        forms = "; ".join(f"{network.description} of {_projects_of(name)}" for name, network in NETWORKS.items())
        raise ConfigError(f"{path} contains an unknown network: {_describe(tensors)}. Known are: {forms}.")
    (name,) = fitting
    if name not in PROJECTS[project].networks:
        raise ConfigError(
            f"{path} is not a checkpoint of {PROJECTS[project].title}: it contains {NETWORKS[name].description} of "
            f"{_projects_of(name)}. Name that project: `speechtools convert {_first_project(name)} …`."
        )
    network, sizes = NETWORKS[name], _sizes(tensors, NETWORKS[name])
    encoder = registry.build(network.plugin, options={**(sizes or {}), **network.options})
    renamed = {}
    for key, value in tensors.items():
        if key not in network.ignored:
            layer, _, rest = key.partition(".")
            renamed[f"{network.names.get(layer, layer)}.{rest}"] = value.float()
    encoder.load_state_dict(renamed)
    return encoder.eval()


def _sizes(tensors: dict[str, Tensor], network: Network) -> dict[str, int] | None:
    """The arguments for the sizes of a network's encoder; None if the tensors are not those of the network."""
    shapes = {key: tuple(value.shape) for key, value in tensors.items() if key not in network.ignored}
    layers = {int(match[3]) for key in shapes if (match := _LAYER.fullmatch(key))}
    first, output = shapes.get("lstm.weight_ih_l0", ()), next(iter(network.names)) + ".weight"
    linear = shapes.get(output, ())
    if len(first) != 2 or len(linear) != 2 or layers != set(range(len(layers))):
        return None
    hidden, size = linear[1], linear[0]
    expected: dict[str, tuple[int, ...]] = {output: (size, hidden), output.replace("weight", "bias"): (size,)}
    for layer in layers:
        expected[f"lstm.weight_ih_l{layer}"] = (4 * hidden, hidden if layer else first[1])
        expected[f"lstm.weight_hh_l{layer}"] = (4 * hidden, hidden)
        expected |= {f"lstm.bias_{which}_l{layer}": (4 * hidden,) for which in ("ih", "hh")}
    if "attention" in network.names.values():
        expected["linear.weight"] = (1, size)
    if shapes != expected:
        return None
    return {"input_size": first[1], "hidden_size": hidden, "num_layers": len(layers), "embedding_size": size}


def _projects_of(network: str) -> str:
    return " and ".join(project.title for project in PROJECTS.values() if network in project.networks)


def _first_project(network: str) -> str:
    return next(name for name, project in PROJECTS.items() if network in project.networks)


def _describe(tensors: dict[str, Tensor]) -> str:
    names = [f"{key} {'×'.join(map(str, value.shape))}".rstrip() for key, value in tensors.items()]
    return f"{len(names)} tensors, {first_of(names)}"


def _facts(project: Project, content: Checkpoint, path: Path, threshold: float | None) -> dict[str, Any]:
    digest = hashlib.sha256(path.expanduser().read_bytes()).hexdigest()
    origin: dict[str, Any] = {"project": project.title, "file": path.name, "sha256": digest}
    if content.steps is not None:
        origin["steps"] = content.steps
    return {
        "trained_on": f"data of its authors; converted from a checkpoint of {project.title}",
        "converted_from": origin,
        "threshold": "to be fitted" if threshold is None else threshold,
    }


def _card(project: Project, facts: Mapping[str, Any]) -> str:
    origin = facts["converted_from"]
    threshold = (
        "The model has **no threshold**: `speechtools verify` and `identify` need `--threshold`.\n"
        "Fit one to recordings like yours: `speechtools trials list.txt --model <this folder>` prints that of the EER."
        if facts["threshold"] == "to be fitted"
        else f"{facts['threshold']:g}, chosen by whoever converted the model."
    )
    return f"""
## Origin

The weights are those of {project.title}: `{origin["file"]}`, SHA-256 `{origin["sha256"]}`.
Their license is that of their authors.

## Threshold

{threshold}
"""
