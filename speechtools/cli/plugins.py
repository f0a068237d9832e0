"""``speechtools list``, ``show``, ``check`` and ``new``."""

import glob
import inspect
import os
import shutil
import textwrap

import click

from speechtools.cli.command import Group, command
from speechtools.cli.common import module_option, print_problems
from speechtools.core import registry
from speechtools.core.errors import ConfigError, PluginError
from speechtools.core.spelling import did_you_mean


@command("list", examples=["speechtools list", "speechtools list encoder", "speechtools list '*/lstm*'"])
@click.argument("pattern", required=False)
@module_option
def list_plugins(pattern: str | None) -> int:
    """List the plugins, with their kinds.

    PATTERN selects a kind, as in `encoder`, or names, as in 'corpus/*' or '*/lstm*'. Quote patterns with an asterisk.
    """
    names = registry.available(pattern)
    if not names and pattern:
        kind = pattern.split("/")[0]
        known = registry.available(kind if kind in registry.kinds() else None)
        hint = did_you_mean(pattern, known)
        kinds = f"The kind {kind} has: {', '.join(known)}." if kind in registry.kinds() else _kinds()
        raise PluginError(f"No plugin matches {pattern!r}.{hint} {kinds}")
    contracts = registry.contracts()
    width = max(map(len, names))
    for index, kind in enumerate(sorted({name.split("/")[0] for name in names})):
        print("\n" * (index > 0) + kind)
        if kind in contracts:
            print(_wrap(contracts[kind].sentence, "  "), end="\n\n")
        for name in names:
            if name.startswith(f"{kind}/"):
                summary = (inspect.getdoc(registry.find(name)) or "").partition("\n")[0]
                print(f"  {name:<{width}}  {summary.replace('``', '')}".rstrip())
    return 0


@command(examples=["speechtools show encoder/lstm"])
@click.argument("name", metavar="KIND/NAME")
@module_option
def show(name: str) -> int:
    """Show the signature, file, documentation and contract of a plugin."""
    if name in registry.kinds():
        raise PluginError(f"{name!r} is a kind. `speechtools list {name}` prints its contract and its plugins.")
    plugin = registry.find(name)
    print(registry.signature(name))
    print(f"defined in {registry.place(plugin)}")
    print(f"\n{inspect.getdoc(plugin) or 'No documentation.'}")
    kind = name.split("/")[0]
    if contract := registry.contracts().get(kind):
        print(f"\nThe contract of the kind {kind}\n{_wrap(contract.sentence, '  ')}")
        for law in contract.laws:
            print(_wrap(law.sentence, "    ", "  - "))
    return 0


class _CheckGroup(Group):
    """``speechtools check``, which still takes its former form, without the kind of thing to check."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        pairs = zip(["", *args], args, strict=False)
        values = [word for last, word in pairs if word[:1] != "-" and (last[:2] != "--" or "=" in last)]
        kind = None if not values or values[0] in self.commands else _kind_of(values[0])
        if kind:
            remedy = f"Use `speechtools check {kind} {values[0]}`."
            print_problems([f"warning: `speechtools check {values[0]}` is deprecated. {remedy}"])
            args = [kind, *args]
        return super().parse_args(ctx, args)


def _kind_of(name: str) -> str | None:
    """Guess what a name refers to; None for a misspelt command."""
    is_plugin = name.count("/") == 1 and name.split("/")[0] in registry.kinds()
    if is_plugin and (not os.path.exists(name) or name in registry.available(name.split("/")[0])):
        return "plugin"
    if os.path.isdir(name):
        return "recipe"
    if name.endswith(".csv") or (os.path.isfile(name) and not name.endswith(".py")):
        return "manifest"
    return "plugin" if "/" in name or name.endswith(".py") else None


@click.group(cls=_CheckGroup)
def check() -> None:
    """Check a plugin, a recipe or a manifest. The exit status is 1 if there are problems."""


@check.command(
    "plugin",
    examples=[
        "speechtools check plugin encoder/lstm",
        "speechtools check plugin corpus/timit --data_folder=/data/TIMIT",
        "speechtools check plugin encoder/my-net --module my_net.py",
    ],
)
@click.argument("name", metavar="KIND/NAME")
@click.option("--data_folder", metavar="FOLDER", help="For a corpus: its folder, to test its utterances as well.")
@module_option
def check_plugin(name: str, data_folder: str | None) -> int:
    """Test whether a plugin keeps the contract of its kind, which `speechtools show` prints."""
    from speechtools.core import contract

    if name.endswith(".py"):
        raise ConfigError(f"{name} is a module. Pass its plugin: speechtools check plugin kind/name --module {name}")
    passed = contract.check(name, data_folder, report=lambda law: print(f"ok  {law}", flush=True))
    needs_folder = data_folder is None and contract.needs_data_folder(name)
    for law in contract.contract(name.split("/")[0]).laws:
        if law.sentence not in passed and not needs_folder:
            print(f"--  {law.sentence} (does not apply)")
    print(f"{name} keeps its contract ({len(passed)} laws tested).")
    if needs_folder:
        print("Pass --data_folder=… to test what it reads from your copy of the corpus.")
    return 0


@check.command(
    "recipe", examples=["speechtools check recipe recipes/TIMIT/quality", "speechtools check recipe recipes"]
)
@click.argument("folder")
@module_option
def check_recipe(folder: str) -> int:
    """Check the yaml files of a recipe, or of all recipes in a folder, without training."""
    from speechtools import training

    scripts = sorted(glob.glob("*/train.py", root_dir=folder) + glob.glob("*/*/train.py", root_dir=folder))
    if os.path.exists(os.path.join(folder, "train.py")) or not scripts:
        scripts = ["train.py"]
    folders = [os.path.join(folder, os.path.dirname(script)) for script in scripts]
    return _print_result(folder, [problem for path in folders for problem in training.check_recipe(path)])


@check.command("manifest", examples=["speechtools check manifest results/prepared/train.csv"])
@click.argument("file")
@module_option
def check_manifest(file: str) -> int:
    """Check every row of a manifest, a CSV file of prepared data, against its audio."""
    import speechtools.enhancement.data  # these three define the known manifests
    import speechtools.quality.data
    import speechtools.speaker.index  # noqa: F401
    from speechtools.core.rows import check_manifest

    kind, count, problems = check_manifest(file)
    return _print_result(f"{file} ({kind}, {count} rows)", [f"{file}, {problem}" for problem in problems])


def _print_result(name: str, problems: list[str]) -> int:
    status = print_problems(problems)
    print(f"{name}: {len(problems)} problem{'s' * (len(problems) != 1)} found")
    return status


@click.group(cls=Group)
def new() -> None:
    """Create a recipe or a plugin to start from. Nothing is overwritten."""


@new.command("recipe", examples=["speechtools new recipe MyCorpus/my-task --template classify"])
@click.argument("name", metavar="CORPUS/TASK")
@click.option("--folder", metavar="FOLDER", help="The folder for CORPUS.  [default: recipes/ of the checkout]")
@click.option(
    "--template",
    metavar="NAME",
    default="task",
    show_default=True,
    help="What the recipe trains: task, a speaker verification, or classify, a classifier of labelled recordings.",
)
def new_recipe(name: str, folder: str | None, template: str) -> int:
    """Copy a small recipe that works, to change it step by step.

    It is written to CORPUS/TASK, as in TIMIT/quality, and its README.md says what to change.
    """
    from speechtools import scaffolding

    print(scaffolding.how_to_use_recipe(name, scaffolding.new_recipe(name, folder, template)))
    return 0


@new.command(
    "plugin", examples=["speechtools new plugin encoder/my-net", "speechtools new plugin pooling/mean --new_kind"]
)
@click.argument("name", metavar="KIND/NAME")
@click.option("--folder", metavar="FOLDER", help="For the module and its test.  [default: the current folder]")
@click.option("--new_kind", is_flag=True, help="KIND is a new one; the module then also has a small contract.")
def new_plugin(name: str, folder: str | None, new_kind: bool) -> int:
    """Create a module with a small plugin that works, and its test.

    `speechtools list` shows the kinds.
    """
    from speechtools import scaffolding

    print(scaffolding.how_to_use_plugin(name, scaffolding.new_plugin(name, folder or ".", new_kind)))
    return 0


def _kinds() -> str:
    return f"Kinds: {', '.join(registry.kinds())}."


def _wrap(text: str, indent: str, first_indent: str | None = None) -> str:
    width = min(shutil.get_terminal_size().columns, 120)
    first_indent = indent if first_indent is None else first_indent
    wrapper = textwrap.TextWrapper(width, first_indent, indent, break_long_words=False, break_on_hyphens=False)
    return wrapper.fill(text)
