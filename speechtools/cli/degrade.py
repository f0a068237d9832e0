"""``speechtools degrade``."""

import dataclasses
import hashlib
import inspect
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import click

from speechtools.cli.command import command
from speechtools.cli.common import (
    channel_option,
    check_output,
    module_option,
    output_options,
    print_problems,
    recordings,
    refuse_inputs,
)
from speechtools.cli.outputs import OUTPUT_SUFFIXES, check_pairs, check_settings, pair_outputs, remaining_pairs
from speechtools.cli.tables import Table, csv_option, is_finished, open_tables, write_all
from speechtools.core import registry
from speechtools.core.errors import AudioError, ConfigError, PluginError, SpeechtoolsError, printable
from speechtools.core.rows import Row

if TYPE_CHECKING:
    from speechtools.audio.sources import Channel
    from speechtools.degradations.files import Degraded, Task

#: Longer names of chains are shortened, so that they can name folders.
_LONGEST_NAME = 100
#: Parameters that the command sets, not the chain.
_OFFERED = ("sample_rate", "noises")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DegradeRow(Row):
    """A degraded recording, or why there is none: a row of the CSV file."""

    result_column: ClassVar[str] = "causes"

    file: str
    source: str
    chain: str
    seed: int
    sample_rate: int | None = None
    seconds: float | None = None
    gain_db: float | None = None
    causes: str | None = None
    error: str | None = None


@command(
    examples=[
        'speechtools degrade clean.wav degraded.wav --chain "reverb(rt60=0.5)+opus(kbps=12)+loss(rate=0.05)"',
        'speechtools degrade in out --chain "noise(snr_db=[0, 20])" --noise noises --csv out.csv',
        'speechtools degrade in out --chain "mp3(kbps=16)" --chain gsm     # one of them for each recording',
        'speechtools degrade in out --chain "mp3(kbps=16)" --chain gsm --every_chain     # both, in two folders',
        "speechtools degrade --list",
    ]
)
@click.argument("source_path", metavar="FILE_OR_FOLDER", required=False)
@click.argument("target_path", metavar="OUTPUT", required=False)
@click.option(
    "--chain",
    "chains",
    multiple=True,
    metavar="CHAIN",
    help="What to do, step by step. May be repeated: each recording then gets one of the chains, drawn by --seed.",
)
@click.option(
    "--every_chain",
    is_flag=True,
    help="Degrade each recording by every chain; the outputs are in subfolders of OUTPUT that the chains name.",
)
@click.option(
    "--noise",
    metavar="FOLDER",
    help="Recordings for steps such as `noise`, with subfolders.  [default: generated noises]",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    metavar="NUMBER",
    default=0,
    show_default=True,
    help="Another number gives other noises, rooms, losses and so on.",
)
@click.option(
    "--sample_rate",
    type=click.IntRange(min=8000, max=192000),
    metavar="HERTZ",
    help="The rate of the outputs.  [default: that of each recording; 16000 where a chain cannot run at it]",
)
@csv_option(DegradeRow)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    metavar="NUMBER",
    help="Processes, each with up to 256 MB of noises in memory.  [default: one per core]",
)
@click.option("--list", "lists", is_flag=True, help="List the degradations with their parameters and defaults.")
@channel_option
@output_options
@module_option
def degrade(
    source_path: str | None,
    target_path: str | None,
    chains: tuple[str, ...],
    every_chain: bool,
    noise: str | None,
    seed: int,
    sample_rate: int | None,
    csv_path: str | None,
    jobs: int | None,
    lists: bool,
    channel: "Channel",
    resume: bool,
    overwrite: bool,
) -> int:
    """Make a recording sound worse, or all recordings in a folder: noise, rooms, codecs, lost packets and more.

    OUTPUT is a file (.wav or .flac) or, for a folder of recordings, a folder, in which the same subfolders are created.
    Degraded recordings are mono, 16 bit, as long as the originals and aligned with them.

    A chain has one step or several, joined by `+`: the names of degradations, with parameters in brackets. A parameter
    is a value, as in kbps=12, or a range to draw from, as in snr_db=[0, 20]. Others have their defaults, which --list
    prints. With share=0.3, a step degrades a random stretch of 30 % of the recording. Quote chains for the shell.

    What is drawn for a recording depends on --seed and its path in the folder alone, so that one run or several give
    the same files.

    Existing files are replaced with --overwrite only, and skipped with --resume, for which all other options must be
    the same. A recording that cannot be degraded is reported; the others are degraded, and the exit status is 1. So it
    is with a chain whose codec is not installed.
    """
    if lists:
        return _list_degradations()
    if source_path is None or target_path is None or not chains:
        missing = "--chain" if target_path is not None else "FILE_OR_FOLDER and OUTPUT"
        raise click.UsageError(f"Missing {missing}. `speechtools degrade --help` has examples.", _context())
    from speechtools.degradations.files import run_tasks

    source, target = Path(source_path), Path(target_path)
    check_output("OUTPUT", target)
    if noise:
        _check_noise(noise, target, chains)
    tasks = _plan(source, target, chains, every_chain, seed)
    _check_csv(csv_path, tasks)
    tables = open_tables(DegradeRow, csv_path, None, overwrite, resume) if csv_path else []
    pairs = set(remaining_pairs([(task.path, task.output) for task in tasks], resume, overwrite))
    is_kept = {
        task.output: (task.path, task.output) not in pairs and (not tables or is_finished(task.output, tables))
        for task in tasks
    }
    remaining = [task for task in tasks if not is_kept[task.output]]
    kept = [task for task in tasks if is_kept[task.output]]
    _check_resumed(kept, tables, sample_rate, channel, noise)
    results = run_tasks(
        remaining,
        sample_rate=sample_rate,
        channel=channel,
        noise_folder=noise or "",
        num_workers=jobs,
        progress=sys.stderr.isatty(),
    )
    done: list[Degraded] = []
    for _ in write_all(_rows(results, done), tables, [task.output for task in kept]):
        pass
    _print_summary(done, len(kept), target, sys.stderr if csv_path == "-" else sys.stdout)
    return print_problems(_problems(done))


def _context() -> click.Context:
    return click.get_current_context()


def _plan(source: Path, target: Path, chains: Sequence[str], every_chain: bool, seed: int) -> "list[Task]":
    """List what to do: a task for each output."""
    from speechtools.degradations.files import plan_tasks

    folder = source if os.path.isdir(source) else source.parent
    if not every_chain:
        return plan_tasks(pair_outputs(source, target, "degraded"), chains, seed, folder)
    if target.suffix.lower() in OUTPUT_SUFFIXES or target.is_file():
        raise ConfigError(f"--every_chain makes a folder for each chain. Pass a folder instead of the file {target}.")
    if os.path.isdir(source):
        files = pair_outputs(source, target, "degraded")
    else:
        files = [(source, target / f"{source.stem}.wav")]
    folders: dict[str, str] = {}
    tasks = []
    for chain in chains:
        name = chain_folder(chain)
        if name in folders:
            raise ConfigError(f"The chains {folders[name]!r} and {chain!r} would share the folder {name}. Pass one.")
        folders[name] = chain
        outputs = [(path, target / name / output.relative_to(target)) for path, output in files]
        check_pairs(outputs)
        tasks += plan_tasks(outputs, [chain], seed, folder)
    return tasks


def chain_folder(chain: str) -> str:
    """Name the folder of a chain.

    >>> chain_folder("reverb(rt60=[0.2, 0.9]) + opus(kbps=12)"), chain_folder("gsm")
    ('reverb_rt60=0.2_0.9+opus_kbps=12', 'gsm')
    """
    name = re.sub(r"_*([=+])_*", r"\1", re.sub(r"[^\w.=+-]+", "_", chain)).strip("_.") or "chain"
    if len(name.encode()) <= _LONGEST_NAME:
        return name
    return f"{name.encode()[:_LONGEST_NAME].decode(errors='ignore')}-{hashlib.sha256(chain.encode()).hexdigest()[:8]}"


def _check_noise(noise: str, target: Path, chains: Sequence[str]) -> None:
    """Raise an error if the noises cannot be listed, no step uses them, or the outputs would be among them."""
    from speechtools.degradations.chain import parse_chain
    from speechtools.degradations.noise import read_noise_types

    read_noise_types(noise)
    if Path(os.path.realpath(target)).is_relative_to(os.path.realpath(noise)):
        raise ConfigError(f"{target} is in the folder of --noise, so outputs would become noises. Choose another.")
    steps = [step for chain in chains for step in parse_chain(chain) if "noise_folder" not in step.options]
    plugins = [registry.find(f"degradation/{step.name}") for step in steps]
    if not any("noises" in inspect.signature(plugin).parameters for plugin in plugins):
        raise ConfigError(f"No step uses --noise={noise}. Add noise to the chain, as in 'noise(snr_db=[0, 20])+gsm'.")


def _check_csv(csv_path: str | None, tasks: "list[Task]") -> None:
    """Raise an error if the table would replace a recording."""
    if csv_path:
        refuse_inputs([task.path for task in tasks], {"--csv": [csv_path]})
        if os.path.realpath(csv_path) in {os.path.realpath(task.output) for task in tasks}:
            raise ConfigError(f"--csv={csv_path} is the name of an output, too. Choose another.")


def _check_resumed(
    kept: "list[Task]", tables: Sequence[Table], sample_rate: int | None, channel: "Channel", noise: str | None
) -> None:
    """Raise an error if an output of an earlier run, or its row in the table, was written with other options."""
    from speechtools.degradations.files import noise_identity, settings

    for task in kept:
        columns: dict[str, Any] = {"chain": task.chain, "seed": task.seed}
        columns |= {"sample_rate": sample_rate} if sample_rate else {}
        for table in tables:
            table.check_settings([task.output], columns)
    noises = noise_identity(noise or "") if kept else ""
    check_settings("degrade", ((task.output, settings(task, sample_rate, channel, noises)) for task in kept))


def _rows(results: "Iterable[Degraded]", done: "list[Degraded]") -> "Iterator[tuple[DegradeRow, dict[str, Any]]]":
    """Yield a row for each result, which is also added to ``done``."""
    for result in results:
        done.append(result)
        row = DegradeRow(
            file=str(result.output),
            source=str(result.path),
            chain=result.chain,
            seed=result.seed,
            sample_rate=result.sample_rate,
            seconds=result.seconds,
            gain_db=None if result.error else result.gain_db,
            causes=result.causes,
            error=str(result.error) if result.error else None,
        )
        yield row, {}


def _print_summary(done: "list[Degraded]", earlier: int, target: Path, file: Any) -> None:
    """Print how many recordings were degraded, how many were scaled, and how many have another rate."""
    from speechtools.degradations.files import DEFAULT_RATE

    good = [result for result in done if result.error is None]
    if good or earlier or not done:
        before = f", {earlier} before" if earlier else ""
        print(f"{recordings(len(good))} degraded{before}: {printable(target)}", file=file)
    if scaled := [result.gain_db for result in good if result.gain_db]:
        what = f"{recordings(len(scaled))} scaled down so as not to clip"
        print(f"{what}, by up to {-min(scaled):.1f} dB", file=file)
    if others := sum(result.has_other_rate for result in good):
        print(f"{recordings(others)} at {DEFAULT_RATE} Hz: the chain cannot run at the recording's own rate", file=file)


def _problems(done: "list[Degraded]") -> Iterator[str]:
    """Yield a message for each recording that cannot be degraded, and for each chain that cannot run."""
    of_chains: dict[str, list[Path]] = {}
    for result in done:
        if isinstance(result.error, AudioError):
            yield f"not degraded: {result.error}"
        elif result.error is not None:
            of_chains.setdefault(str(result.error), []).append(result.path)
    for message, paths in of_chains.items():
        yield f"{recordings(len(paths))} not degraded: {message}"


# ----------------------------------------------------------------------------------------------------------------- list


def _list_degradations() -> int:
    """Print the degradations as steps of a chain, with their defaults."""
    print("Degradations, with the defaults of their parameters. [a, b] is a range, or a list to draw from.")
    for name in registry.available("degradation"):
        if name != "degradation/chain":
            print("\n".join(["", *_describe(name)]))
    return 0


def _describe(name: str) -> Iterator[str]:
    from speechtools.degradations.chain import format_value

    plugin = registry.find(name)
    options = {
        key: format_value(p.default)
        for key, p in inspect.signature(plugin).parameters.items()
        if key not in _OFFERED and p.default is not p.empty
    }
    listed = ", ".join(f"{key}={value}" for key, value in options.items())
    yield name.split("/")[1] + (f"({listed})" if listed else "")
    summary = (inspect.getdoc(plugin) or "").partition("\n")[0].partition(": ``(")[0].replace("``", "")
    if summary:
        yield f"    {summary.rstrip('.')}"
    missing = _why_missing(name)
    if needs := getattr(plugin, "needs", ""):
        yield f"    needs {needs}: {'not installed' if missing else 'installed'}"
    elif missing:
        yield f"    {missing}"


def _why_missing(name: str) -> str:
    """Why a degradation cannot be built with its defaults; empty if it can."""
    try:
        registry.build(name)
    except (ConfigError, PluginError):  # it needs parameters
        return ""
    except SpeechtoolsError as error:
        return str(error)
    return ""
