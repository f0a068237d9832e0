"""Former names of modules and their contents (DeprecationWarning) and of kinds (FutureWarning), which still work."""

import functools
import importlib
import importlib.abc
import importlib.machinery
import sys
import types
import warnings
from collections.abc import Callable
from typing import Any

#: Modules that moved into a subpackage and kept their name, by subpackage.
_KEPT_NAME = {
    "audio": "features recurrent spectrum vad",
    "core": "errors installation metrics plots registry",
    "corpora": "data.espeak data.noisy_speech data.reading data.sentences",
    "keyword": "data.segments",
    "quality": "autoencoder localization",
    "speaker": "data.augmentation data.trials dvectors encoders evaluation gathering ge2e softmax te2e",
    "training": "distributed options reproduction threads",
}
#: Former name and the present one, below ``speechtools``.
MOVED = {
    "allocation": "core.memory",
    "contracts": "core.contract",
    "data.audio": "audio.io",
    "data.batches": "training.loaders",
    "data.corpora": "corpora",
    "data.enhancement_data": "enhancement.data",
    "data.keyword_data": "keyword.data",
    "data.manifests": "core.rows",
    "data.mixing": "corpora.mixtures",
    "data.noise_generators": "audio.noises",
    "data.pesq_labels": "measures.pesq",
    "data.processes": "core.jobs",
    "data.quality_data": "quality.data",
    "data.speaker_batches": "speaker.batches",
    "data.speaker_data": "speaker.data",
    "data.speaker_index": "speaker.index",
    "data.speaker_store": "speaker.store",
    "enhancement_evaluation": "enhancement.evaluation",
    "data.multireader": "speaker.multireader",
    "keyword.multireader": "speaker.multireader",
    "keyword_evaluation": "keyword.evaluation",
    "quality_results": "quality.paper",
    "quality_stages": "quality.stages",
    "reports": "quality.evaluation",
    "scoring": "cli.score",
}
MOVED |= {
    name: f"{package}.{name.removeprefix('data.')}" for package, names in _KEPT_NAME.items() for name in names.split()
}
#: Former kind and the present one: ``loss/te2e`` is ``speaker-loss/te2e`` now.
FORMER_KINDS = {"loss": "speaker-loss"}
#: Present modules that were split, and where the other names of the former module are.
SPLIT = {
    "corpora.mixtures": ("corpora.splits", "degradations.noise"),
    "measures.pesq": ("measures.labels",),
    "speaker.ge2e": ("speaker.losses",),
    "speaker.augmentation": ("audio.augmentation", "degradations.reverberation"),
}
#: Names that have left a module, by module, and their present places.
MOVED_NAMES = {
    "audio.features": {"num_samples": "audio.frames.num_samples"},
    "audio.recordings": {
        "check_lens": "audio.waveforms.check_lens",
        "check_waveforms": "audio.waveforms.check_waveforms",
        "pad": "audio.waveforms.pad",
        "remove_offset": "audio.waveforms.remove_offset",
    },
    "audio.sources": {"Source": "audio.sources.AudioSource"},
    "core.jobs": {
        "Journal": "core.journal.Journal",
        "cores_left": "core.processes.cores_left",
        "end_with_starter": "core.processes.end_with_starter",
        "leave_cores": "core.processes.leave_cores",
        "run_until_exit": "core.processes.run_until_exit",
    },
    "core.plots": {
        "det": "speaker.plots.det",
        "eer_table": "speaker.plots.eer_table",
        "frame_score_curves": "quality.plots.frame_score_curves",
        "frame_scores": "quality.plots.frame_scores",
        "learning_curve": "quality.plots.learning_curve",
        "projection": "speaker.plots.projection",
        "score_scatter": "quality.plots.score_scatter",
        "similarity_matrix": "speaker.plots.similarity_matrix",
        "spectrograms": "enhancement.plots.spectrograms",
    },
    "core.rows": {
        "Utterance": "corpora.utterance.Utterance",
        "fingerprint": "core.files.fingerprint",
    },
    "measures.pesq": {"Scale": "measures.Measure", "scale": "measures.find_measure"},
    "quality.localization": {"localization_figures": "quality.localization.localization_metrics"},
    "speaker.batches": {"speaker_loader": "training.loaders.make_loader"},
    "speaker.trials": {
        "Pair": "speaker.pairs.Pair",
        "pair_recordings": "speaker.pairs.pair_recordings",
        "read_pairs": "speaker.pairs.read_pairs",
        "score_pairs": "speaker.pairs.score_pairs",
    },
}
_PACKAGE = __name__.partition(".")[0]


def present_name(name: str) -> str | None:
    """Return the present name of a module that has moved, and None for any other.

    >>> present_name("speechtools.data.corpora.timit"), present_name("speechtools.tour")
    ('speechtools.corpora.timit', None)
    """
    package, _, module = name.partition(".")
    if package != _PACKAGE:
        return None
    parent, _, last = module.rpartition(".")
    moved = MOVED.get(module) or (f"{MOVED[parent]}.{last}" if parent == "data.corpora" else None)
    return moved and f"{_PACKAGE}.{moved}"


def former_names(module: str) -> Callable[[str], Any]:
    """Make the ``__getattr__`` of a module that finds the names that have left it."""
    places = MOVED_NAMES[module.removeprefix(f"{_PACKAGE}.")]

    def __getattr__(name: str) -> Any:  # noqa: N807
        if name not in places:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        place = f"{_PACKAGE}.{places[name]}"
        warnings.warn(f"{module}.{name} is now {place}. Use that name.", DeprecationWarning, 2)
        home, _, attribute = place.rpartition(".")
        return getattr(importlib.import_module(home), attribute)

    return __getattr__


@functools.cache  # one warning for each name
def current_plugin_name(name: str) -> str:
    """Replace a former kind in ``kind`` or ``kind/name``, with a FutureWarning, which yaml and command line show, too.

    >>> current_plugin_name("encoder/lstm")
    'encoder/lstm'
    """
    kind, slash, rest = name.partition("/")
    if kind not in FORMER_KINDS:
        return name
    current = FORMER_KINDS[kind] + slash + rest
    warnings.warn(f"{name!r} is now {current!r}. Use that name.", FutureWarning, 3)
    return current


class MovedFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports a module by its former name: a module with the attributes of the present one."""

    def find_spec(self, fullname, path=None, target=None):
        """Return a spec for a former name, and None for any other."""
        if fullname == f"{_PACKAGE}.data" or present_name(fullname):
            is_package = fullname.endswith((".data", ".corpora"))
            return importlib.machinery.ModuleSpec(fullname, self, is_package=is_package)
        return None

    def create_module(self, spec):
        """Create a module that looks up its attributes in the present one."""
        module = types.ModuleType(spec.name)
        present = present_name(spec.name)
        if not present:
            return module
        warnings.warn(f"{spec.name} has moved to {present}. Import it from there.", DeprecationWarning, 2)
        others = SPLIT.get(present.removeprefix(f"{_PACKAGE}."), ())
        targets = [importlib.import_module(target) for target in (present, *(f"{_PACKAGE}.{o}" for o in others))]

        def __getattr__(name):  # noqa: N807
            if name == "__path__":  # with it, Python would load the files of the present package a second time
                raise AttributeError(name)
            return getattr(next((target for target in targets if hasattr(target, name)), targets[0]), name)

        module.__getattr__ = __getattr__
        return module

    def exec_module(self, module):
        """Do nothing, because ``create_module`` returns a complete module."""


def find_moved_modules() -> None:
    """Make the former names importable, after the present ones."""
    if not any(isinstance(finder, MovedFinder) for finder in sys.meta_path):
        sys.meta_path.append(MovedFinder())
