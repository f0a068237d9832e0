"""The command ``speechtools``: see what is registered, look at a part, put it to its laws.

A subcommand is one function that takes the parsed arguments and returns the exit status, and one block in ``_parser``.
What it needs beyond the registry is imported inside it, so that the others start quickly.
"""

import argparse
import glob
import inspect
import os
import re
import shutil
import sys
import textwrap
import warnings
from typing import Any, NoReturn, TextIO

from speechtools import SAMPLE, __version__
from speechtools.core import registry
from speechtools.core.errors import AudioError, ConfigError, PluginError, SpeechtoolsError

_MODEL_HELP = "a `pretrained` folder, a hub id, or a model of the package by its name; default: the command's own"


def list_parts(arguments: argparse.Namespace) -> int:
    """The registered parts, by kind, each with the first line of its docstring."""
    from speechtools.core.contract import CONTRACTS

    names = registry.available(arguments.pattern)
    if not names:
        known = registry.available(arguments.pattern.split("/")[0])
        raise PluginError(
            f"No plugin matches {arguments.pattern!r}.{registry.did_you_mean(arguments.pattern, known)} "
            f"This kind has: {', '.join(known) or 'none'}."
        )
    width = max(map(len, names))
    for index, kind in enumerate(sorted({name.split("/")[0] for name in names})):
        print("\n" * (index > 0) + kind)
        if kind in CONTRACTS:
            print(_wrapped(CONTRACTS[kind].sentence, "  "), end="\n\n")
        for name in names:
            if name.startswith(f"{kind}/"):
                summary = (inspect.getdoc(registry.find(name)) or "").partition("\n")[0]
                print(f"  {name:<{width}}  {summary.replace('``', '')}".rstrip())
    return 0


def show_part(arguments: argparse.Namespace) -> int:
    """The signature, place, docstring and contract of one part."""
    from speechtools.core.contract import CONTRACTS

    part = registry.find(arguments.name)
    kind = arguments.name.split("/")[0]
    print(registry.signature(arguments.name))
    print(f"defined in {registry.place(part)}")
    print(f"\n{inspect.getdoc(part) or 'It has no docstring.'}")
    if kind in CONTRACTS:
        print(f"\nThe contract of the kind {kind}\n{_wrapped(CONTRACTS[kind].sentence, '  ')}")
        for law in CONTRACTS[kind].laws:
            print(_wrapped(law.sentence, "    ", "  - "))
    return 0


def check_anything(arguments: argparse.Namespace) -> int:
    """Check a part, a recipe or a manifest: whatever the name stands for.

    A part (kind/name) is put to the laws of its kind. In the folder of a recipe, every key of the yaml files must be
    used and every key that the script reads be there. In a manifest (.csv), every row must hold against its audio and
    its scale. What is wrong is named, a line each, and the exit status is then 1.
    """
    name = arguments.name
    is_part = re.fullmatch(r"[^/.]+/[^/.]+", name) and name.split("/")[0] in registry.kinds()
    if is_part and (not os.path.exists(name) or name in registry.available(name.split("/")[0])):
        return check_part(arguments)
    if arguments.data_folder is not None:
        raise ConfigError(
            f"{name} was given --data_folder={arguments.data_folder}, but only a corpus reads a folder. Leave it out."
        )
    if os.path.isdir(name):
        from speechtools.training.consistency import check_recipe

        below = sorted(glob.glob("*/train.py", root_dir=name) + glob.glob("*/*/train.py", root_dir=name))
        if below and not os.path.exists(os.path.join(name, "train.py")):  # a folder of recipes
            messages = [each for script in below for each in check_recipe(os.path.join(name, os.path.dirname(script)))]
            return _told(name, messages, f"The yaml files and scripts of {len(below)} recipes agree.")
        return _told(name, check_recipe(name), "Its yaml files and its script agree.")
    if os.path.isfile(name):
        if name.endswith(".py"):
            raise ConfigError(
                f"{name} is a module. To check a part that it files, give the part's name: speechtools check kind/name "
                f"--module {name}."
            )
        if not name.lower().endswith(".csv"):
            raise ConfigError(f"{name} is no manifest (.csv). To check a recipe, give its folder.")
        from speechtools.core.rows import check_manifest

        kind, count, messages = check_manifest(name)
        return _told(name, [f"{name}, {message}" for message in messages], f"{count} rows of a {kind} manifest hold.")
    if name.lower().endswith(".csv") or name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise ConfigError(
            f"There is no file or folder {name}. Give the name of a part (kind/name, as `speechtools list` prints it), "
            "the folder of a recipe, or a manifest (.csv)."
        )
    return check_part(arguments)  # which says what is near


def _told(name: str, messages: list[str], otherwise: str) -> int:
    for message in messages:
        print(f"speechtools: {message}", file=sys.stderr)
    print(f"{name}: {f'{len(messages)} to mend.' if messages else otherwise}")
    return 1 if messages else 0


def check_part(arguments: argparse.Namespace) -> int:
    """Run the laws of its kind on one part."""
    from speechtools.core import contract as contracts

    passed = contracts.check(arguments.name, arguments.data_folder, report=lambda law: print(f"ok  {law}", flush=True))
    print(f"{arguments.name} keeps its contract ({len(passed)} laws tested).")
    if arguments.data_folder is None and contracts.needs_data_folder(arguments.name):
        print("Give --data_folder=… to test what it reads from your copy of the corpus.")
    return 0


def score_files(arguments: argparse.Namespace) -> int:
    """Predict the quality of recordings, without a reference. Folders are searched for audio files.

    A file that cannot be scored becomes a row with its reason; the others are scored, and the exit status is then 1.
    """
    from speechtools.audio.recordings import find_recordings
    from speechtools.cli import scoring
    from speechtools.inference import QualityNet
    from speechtools.training.allocation import keep_freed_memory

    keep_freed_memory()
    outputs = [path for path in (arguments.csv, arguments.jsonl) if path]
    if not arguments.paths and not arguments.sample:
        raise ConfigError("There is nothing to score. Give files or folders, or --sample.")
    paths = find_recordings([*([SAMPLE] if arguments.sample else []), *arguments.paths])
    run_opts = {"device": arguments.device} if arguments.device else None
    net = QualityNet.from_hparams(arguments.model, run_opts=run_opts)
    scored = scoring.score(net, paths, arguments.batch_size, arguments.below, arguments.png)
    rows = scoring.write(scored, arguments.csv, arguments.jsonl, to_screen=not outputs)
    failed = [row for row in rows if row["error"]]
    for path in outputs:
        print(f"{_recordings(len(rows) - len(failed))} scored on the scale {net.scale}: {path}")
    for row in failed:
        print(f"speechtools: not scored: {row['error']}", file=sys.stderr)
    return 1 if failed else 0


def _recordings(count: int) -> str:
    return f"{count} recording" if count == 1 else f"{count} recordings"


def enhance_files(arguments: argparse.Namespace) -> int:
    """Take the noise out of a recording, or of all recordings of a folder.

    What comes out is mono, 16 bit, at the sample rate of the model. A recording that cannot be enhanced is named with
    its reason; the others are enhanced, and the exit status is then 1.
    """
    from pathlib import Path

    from tqdm import tqdm

    from speechtools.audio.recordings import find_recordings
    from speechtools.inference import SpeechEnhancer
    from speechtools.training.allocation import keep_freed_memory

    keep_freed_memory()
    source, target = Path(arguments.source), Path(arguments.target)
    if source.is_dir():
        if target.suffix.lower() in (".wav", ".flac") or target.is_file():
            raise ConfigError(f"{source} is a folder and {target} a file. Give a folder for the enhanced recordings.")
        files = [(path, (target / path.relative_to(source)).with_suffix(".wav")) for path in find_recordings([source])]
    else:
        if not target.suffix and not target.is_dir():
            raise ConfigError(f"There is no folder {target}, and a file needs .wav or .flac. Make it, or add one.")
        files = [(source, target / f"{source.stem}.wav" if target.is_dir() else target)]
    taken: dict[Path, Path] = {}
    for path, output in files:
        if output in taken:
            raise ConfigError(f"{taken[output]} and {path} would both become {output}. Rename one of them.")
        if output.resolve() == path.resolve():
            raise ConfigError(f"{path} would be replaced by its enhanced version. Give another place for it.")
        taken[output] = path
    run_opts = {"device": arguments.device} if arguments.device else None
    enhancer = SpeechEnhancer.from_hparams(arguments.model, run_opts=run_opts)
    results = tqdm(enhancer.enhance_files(files), "enhancing", len(files), unit="file", disable=None)
    failed = [error for _, error in results if error]
    if len(failed) < len(files):
        print(f"{_recordings(len(files) - len(failed))} enhanced: {target}")
    for error in failed:
        print(f"speechtools: not enhanced: {error}", file=sys.stderr)
    return 1 if failed else 0


def embed_files(arguments: argparse.Namespace) -> int:
    """Write the d-vectors of recordings to a file. Folders are searched for audio files.

    The file (.npz) holds `files` (n,) and `dvectors` (n, size). A recording without a d-vector is named with its
    reason; the others are embedded, and the exit status is then 1.
    """
    import numpy as np
    from tqdm import tqdm

    from speechtools.audio.recordings import find_recordings
    from speechtools.core.files import write_aside

    if os.path.isdir(arguments.out):
        raise ConfigError(f"--out={arguments.out} is a folder. Give the name of a file to write, as in d-vectors.npz.")
    encoder = _speaker_model(arguments, "SpeakerEncoder")
    paths = find_recordings(arguments.paths)
    found: list[tuple] = []
    failed: list[tuple] = []
    for path, result in tqdm(encoder.encode_files(paths), "embedding", len(paths), unit="file", disable=None):
        (failed if isinstance(result, AudioError) else found).append((path, result))
    if found:  # an earlier file is not replaced by nothing
        names = np.array([str(path) for path, _ in found], dtype=np.str_)
        with write_aside(arguments.out) as aside, open(aside, "wb") as stream:
            np.savez(stream, files=names, dvectors=np.stack([result.numpy() for _, result in found]))
        print(f"{len(found)} d-vectors of size {encoder.embedding_size}: {arguments.out}")
    else:
        print(f"No d-vectors, so {arguments.out} was not written.")
    for _, error in failed:
        print(f"speechtools: not embedded: {error}", file=sys.stderr)
    return 1 if failed else 0


def enroll_voice(arguments: argparse.Namespace) -> int:
    """Enrol a voice from recordings of it, in a file of voices that `speechtools verify` reads.

    The file is made if it is not there; an earlier voice of the same name in it is replaced.
    """
    verifier = _speaker_model(arguments, "SpeakerVerification")
    if os.path.exists(arguments.voices):
        verifier.load_voices(arguments.voices)
    verifier.enroll(arguments.name, arguments.recordings)
    verifier.save_voices(arguments.voices)
    print(f"{arguments.name} enrolled from {_recordings(len(arguments.recordings))}: {arguments.voices}")
    print(f"voices: {', '.join(sorted(verifier.voices))}")
    return 0


def verify_voice(arguments: argparse.Namespace) -> int:
    """Tell whether two recordings are of one voice; or, with --voices, whether a recording is an enrolled voice.

    The score is a cosine, from -1 to 1. It is accepted where it reaches the threshold. The exit status is 0 either way.
    """
    verifier = _speaker_model(arguments, "SpeakerVerification")
    if arguments.voices:
        verifier.load_voices(arguments.voices)
        verdict = verifier.verify(arguments.claimed, arguments.recording, arguments.threshold)
    elif not os.path.exists(arguments.claimed):
        raise ConfigError(
            f"There is no recording {arguments.claimed}. Mend the path; or, if it is the name of an enrolled voice, "
            "give the file of voices with --voices=…."
        )
    else:
        verdict = verifier.verify_files(arguments.claimed, arguments.recording, arguments.threshold)
    threshold = verifier.threshold if arguments.threshold is None else arguments.threshold
    word = "accepted" if verdict.accepted else "rejected"
    print(f"{word}\tscore {verdict.score:.4f}\tthreshold {threshold:.4f}")
    return 0


def make_new(arguments: argparse.Namespace) -> int:
    """Make a recipe (corpus/task) or a plugin (kind/name) to start from.

    A recipe goes to `recipes/` of the checkout, a plugin and its test to the current folder. Nothing is overwritten.
    """
    from speechtools import scaffolding

    if arguments.what == "recipe":
        target = scaffolding.new_recipe(arguments.name, arguments.folder)
        print(scaffolding.how_to_use_recipe(arguments.name, target))
    else:
        paths = scaffolding.new_plugin(arguments.name, arguments.folder or ".")
        print(scaffolding.how_to_use_plugin(arguments.name, paths))
    return 0


def _speaker_model(arguments: argparse.Namespace, interface: str) -> Any:
    from speechtools import inference
    from speechtools.training.allocation import keep_freed_memory

    keep_freed_memory()
    run_opts = {"device": arguments.device} if arguments.device else None
    return getattr(inference, interface).from_hparams(arguments.model, run_opts=run_opts)


def _wrapped(text: str, indent: str, first_indent: str | None = None) -> str:
    width = min(shutil.get_terminal_size().columns, 120)
    first_indent = indent if first_indent is None else first_indent
    wrapper = textwrap.TextWrapper(width, first_indent, indent, break_long_words=False, break_on_hyphens=False)
    return wrapper.fill(text)


class _Parser(argparse.ArgumentParser):
    """argparse, with the nearest spelling added to its errors; options are not to be abbreviated."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})

    def error(self, message: str) -> NoReturn:
        choice = re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message)
        unknown = re.search(r"unrecognized arguments: (--[^\s=]+)", message)
        hint = ""
        if choice:
            hint = registry.did_you_mean(choice[1], re.findall(r"[\w-]+", choice[2]))
        elif unknown:
            hint = registry.did_you_mean(unknown[1], sorted(self._options()))
        super().error(message + (f".{hint}" if hint else ""))

    def _options(self) -> set[str]:
        # What a subcommand does not know is reported by the parser above it, so its options are looked up too.
        options = {option for option in self._option_string_actions if option.startswith("--")}
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                options.update(*(parser._options() for parser in action.choices.values()))
        return options


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="speechtools",
        description="Judge speech quality without a reference, tell voices apart, and look after the parts that do it.",
    )
    parser.add_argument("--version", action="version", version=f"speechtools {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="command")

    command = commands.add_parser("list", help="the registered parts", description=list_parts.__doc__)
    command.add_argument("pattern", nargs="?", help="a kind (corpus) or a pattern (corpus/*); all kinds if left out")
    command.set_defaults(run=list_parts)

    command = commands.add_parser("show", help="one part: how to build it, what it does", description=show_part.__doc__)
    command.add_argument("name", metavar="kind/name", help="as `speechtools list` prints it")
    command.set_defaults(run=show_part)

    command = commands.add_parser(
        "check", help="whether a part, a recipe or a manifest is as it should be", description=check_anything.__doc__
    )
    command.add_argument("name", metavar="kind/name, folder or file.csv", help="a part, a recipe or a manifest")
    command.add_argument("--data_folder", help="for a corpus: a folder of it, whose utterances are then tested too")
    command.set_defaults(run=check_anything)

    command = commands.add_parser("score", help="predict the quality of recordings", description=score_files.__doc__)
    command.add_argument("paths", nargs="*", metavar="file_or_folder")
    command.add_argument("--sample", action="store_true", help="score the bundled recording (3 s, with street noise)")
    command.add_argument("--model", help=_MODEL_HELP)
    command.add_argument("--csv", help="write a CSV file: file, score, seconds, degraded seconds, error")
    command.add_argument("--jsonl", help="write JSON lines, which also hold the frame scores and their times")
    command.add_argument("--png", metavar="FOLDER", help="draw a spectrogram with its frame scores for every file")
    command.add_argument("--below", type=float, default=2.5, help="frames scored lower count as degraded (2.5)")
    command.add_argument("--batch_size", type=int, default=32, help="recordings scored together (32)")
    command.add_argument("--device", help="cpu, cuda or cuda:1; default: a GPU where there is one")
    command.set_defaults(run=score_files)

    command = commands.add_parser("enhance", help="take the noise out of recordings", description=enhance_files.__doc__)
    command.add_argument("source", metavar="file_or_folder")
    command.add_argument("target", metavar="output", help="a file (.wav, .flac); for a folder, a folder")
    command.add_argument("--model", help=_MODEL_HELP)
    command.add_argument("--device", help="cpu, cuda or cuda:1; default: a GPU where there is one")
    command.set_defaults(run=enhance_files)

    command = commands.add_parser("embed", help="d-vectors of recordings", description=embed_files.__doc__)
    command.add_argument("paths", nargs="+", metavar="file_or_folder")
    command.add_argument("--out", required=True, help="the file (.npz) to write")
    _add_speaker_model(command)
    command.set_defaults(run=embed_files)

    command = commands.add_parser("enroll", help="enrol a voice", description=enroll_voice.__doc__)
    command.add_argument("name", help="what the voice is to be called")
    command.add_argument("recordings", nargs="+", metavar="recording", help="of it: three or more are better")
    command.add_argument("--voices", required=True, help="the file of voices (.npz), made or added to")
    _add_speaker_model(command)
    command.set_defaults(run=enroll_voice)

    command = commands.add_parser("verify", help="whether a voice is who it claims", description=verify_voice.__doc__)
    command.add_argument("claimed", help="a recording; with --voices, the name of an enrolled voice")
    command.add_argument("recording", help="the recording to verify")
    command.add_argument("--voices", help="a file of voices (.npz) that `speechtools enroll` wrote")
    command.add_argument("--threshold", type=float, help="accept from this score on; default: the model's own")
    _add_speaker_model(command)
    command.set_defaults(run=verify_voice)

    command = commands.add_parser("new", help="a recipe or plugin to start from", description=make_new.__doc__)
    command.add_argument("what", choices=("recipe", "plugin"))
    command.add_argument("name", help="my-corpus/my-task for a recipe, encoder/my-net for a plugin")
    command.add_argument("--folder", help="another place: the folder above my-corpus, or that of my_net.py")
    command.set_defaults(run=make_new)

    for name in ("list", "show", "check", "score", "enhance", "embed", "enroll", "verify"):
        commands.choices[name].add_argument(
            "--module", action="append", help="first import parts of your own: a file, as my_net.py, or a module"
        )
    return parser


def _add_speaker_model(command: argparse.ArgumentParser) -> None:
    command.add_argument("--model", help=_MODEL_HELP)
    command.add_argument("--device", help="cpu, cuda or cuda:1; default: a GPU where there is one")


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit status: 0, 1 after an error message, 130 after an interrupt.

    A mistake in the command line itself, ``--help`` and ``--version`` end in SystemExit, as argparse does it.
    """
    parser = _parser()
    arguments = parser.parse_args(argv)
    if not hasattr(arguments, "run"):
        parser.print_help()
        return 0
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            for module in getattr(arguments, "module", None) or ():
                registry.import_module(module)
            status = arguments.run(arguments)
            sys.stdout.flush()
            return status
        except SpeechtoolsError as error:
            print(f"speechtools: {error}", file=sys.stderr)
            return 1
        except BrokenPipeError:  # the reader, say `head`, has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except OSError as error:  # a full disk, a folder without permission: nothing a traceback would help with
            print(f"speechtools: {error}. Nothing more was done: mend this and run it again.", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("speechtools: interrupted.", file=sys.stderr)
            return 130


def _show_warning(
    message: Any, category: Any, filename: str, lineno: int, file: TextIO | None = None, line: str | None = None
) -> None:
    print("speechtools: warning:", " ".join(str(message).split()), file=file or sys.stderr)
