"""Starting points: a recipe that trains, or a plugin that keeps its contract, copied from ``templates/``.

The templates contain working code under the names ``my-corpus/my-task`` and ``kind/my-net``. No file is overwritten.
"""

import importlib.util
import keyword
import re
import shlex
import shutil
import tempfile
import textwrap
from importlib import metadata
from pathlib import Path

from speechtools.core import registry
from speechtools.core.contract import contract, contracts
from speechtools.core.errors import ConfigError, PluginError, SpeechtoolsError
from speechtools.core.files import write_aside
from speechtools.core.spelling import did_you_mean, nearest

#: Pages with a short trial of a recipe.
_TRIALS = {"TI-SV/GE2E": "recipes/TI-SV/GE2E/README.md", "TIMIT/quality": "docs/train.md"}
_RECIPE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]*/[A-Za-z0-9][A-Za-z0-9-]*")


def new_recipe(name: str, folder: str | Path | None = None, template: str = "task") -> Path:
    """Copy the template of a recipe to ``<folder>/<corpus>/<task>`` and fill in its name.

    Parameters
    ----------
    name : str
        ``corpus/task``, as in ``TIMIT/quality``.
    folder : str or Path, optional
        By default ``recipes/`` in the checkout that contains the current folder, or else in the current folder.
    template : str
        A folder in ``templates/recipe``: ``task`` (speaker verification) or ``classify`` (labels; the shorter start for
        another task).

    Returns
    -------
    Path
        The folder of the recipe.

    Raises
    ------
    ConfigError
        The name is invalid, the folder exists, or there is no such template.
    """
    if not _RECIPE_NAME.fullmatch(name):
        near = re.sub(r"[\s_.]+", "-", name)
        example = near if _RECIPE_NAME.fullmatch(near) else "TIMIT/quality"
        form = "corpus/task in letters, digits and hyphens"
        raise ConfigError(f"Invalid recipe name {name!r}. Write {form}, as in {example}.")
    source = templates_folder() / "recipe" / template
    if not source.is_dir():
        templates = sorted(path.name for path in source.parent.iterdir())
        hint = did_you_mean(template, templates)
        raise ConfigError(f"Unknown template {template!r}.{hint} Templates: {', '.join(templates)}.")
    root = _recipes_folder() if folder is None else Path(folder).expanduser()
    if root.is_file():
        raise ConfigError(f"--folder={root} is a file. Pass a folder.")
    target = root / name
    if target.exists():
        raise ConfigError(f"{target} exists. Choose another name.")
    target.parent.mkdir(parents=True, exist_ok=True)
    names = {"my-corpus/my-task": name, "my-task": name.split("/")[1]}
    with tempfile.TemporaryDirectory(prefix=".new-", dir=target.parent) as aside:
        copy = Path(aside) / "recipe"
        results = shutil.ignore_patterns("results", "__pycache__", ".*")  # of a template that was run in its place
        shutil.copytree(source, copy, ignore=results)
        for path in (path for path in copy.rglob("*") if path.is_file()):
            _fill_in(path, path, names)
        copy.rename(target)
    return target


def new_plugin(name: str, folder: str | Path = ".", new_kind: bool = False) -> tuple[Path, Path]:
    """Write a module with a small plugin ``kind/name`` that works, and a test of its contract.

    For ``encoder/my-net`` they are ``my_net.py`` and ``test_my_net.py``. With ``new_kind``, the kind may be a new one;
    the module then also has a small contract of it.

    Raises
    ------
    PluginError
        The name is invalid or taken, the kind is unknown or has no template, or the module has the name of another.
    ConfigError
        One of the two files exists.
    """
    registry.plugin(name)  # checks the form of the name
    name = registry.current_plugin_name(name)
    kind, short = name.split("/")
    is_new_kind = kind not in registry.kinds()
    if is_new_kind and not new_kind:
        near = nearest(kind, registry.kinds())
        hint = f" Did you mean '{near}/{short}'?" if near else ""
        kinds = ", ".join(registry.kinds())
        raise PluginError(
            f"Unknown kind {kind!r}.{hint} For a new kind, pass --new_kind (new_kind=True). Kinds: {kinds}."
        )
    if not is_new_kind and name in registry.available(kind):
        raise PluginError(f"The plugin {name!r} exists: {registry.place(registry.find(name))}. Choose another name.")
    templates = templates_folder() / "plugin"
    template = templates / ("new-kind.py" if is_new_kind else f"{kind}.py")
    if not template.is_file():
        raise PluginError(f"The kind {kind!r} has no template: {template} does not exist.")
    test = next(path for path in (templates / f"test_{kind}.py", templates / "test_plugin.py") if path.is_file())
    module = short.replace("-", "_")
    if not module.isidentifier() or keyword.iskeyword(module):
        raise PluginError(f"Python cannot import {module}.py. Begin the name with a letter, and use no keyword.")
    folder = Path(folder).expanduser()
    paths = folder / f"{module}.py", folder / f"test_{module}.py"
    for path in paths:
        if path.exists():
            raise ConfigError(f"{path} exists. Choose another name, or another --folder.")
    if importlib.util.find_spec(module) is not None:
        raise PluginError(f"{module}.py would hide the installed module {module!r}. Choose another name.")
    camel = "".join(word.capitalize() for word in module.split("_"))
    # The suffix keeps the class apart from the names that its module imports.
    suffix = next(iter(re.findall(r"MyNet(\w+)", template.read_text(encoding="utf-8"))), "")
    names = dict.fromkeys(["my-kind/my-net", f"{kind}/my-net", "encoder/my-net"], name) | {
        "my-kind": kind,
        '"my-net"': f'"{name.split("/")[1]}"',
        '"encoder"': f'"{kind}"',
        f"MyNet{suffix}": camel if camel.endswith(suffix) else camel + suffix,
        "my_net": module,
    }
    if not is_new_kind:
        names["THE CONTRACT"] = _contract_text(name, module)
    folder.mkdir(parents=True, exist_ok=True)
    for path, source in zip(paths, (template, test), strict=True):
        _fill_in(source, path, names)
    return paths


def how_to_use_recipe(name: str, target: Path) -> str:
    """The next commands for a recipe of :func:`new_recipe`."""
    run = f"results/{name.split('/')[1]}-builtin/1234"
    verify = f"    speechtools verify {run}/examples/one.wav {run}/examples/same.wav --model {run}/pretrained\n"
    return (
        f"Created {target}. Next:\n"
        f"    cd {shlex.quote(str(target))}\n"
        "    python train.py hparams/train.yaml\n"
        f"{verify if 'speechtools verify' in (target / 'README.md').read_text(encoding='utf-8') else ''}"
        "Its README.md says what to change; hparams/quick.yaml is what the tests run."
    )


def how_to_use_plugin(name: str, paths: tuple[Path, Path]) -> str:
    """The next commands for a plugin of :func:`new_plugin`."""
    kind, short = registry.current_plugin_name(name).split("/")
    module = paths[0].stem
    kind_contract = contracts().get(kind)
    folder = " --data_folder=/path/to/recordings" if kind_contract and kind_contract.reads_folder else ""
    tests = (
        f"Created {paths[0]} and {paths[1]}. They work as they are:\n"
        f"    pytest {paths[1]}\n"
        f"    speechtools check plugin {kind}/{short} --module {paths[0]}{folder}\n"
    )
    if kind_contract is None:
        tests += f"{kind!r} is a new kind: change its contract in {paths[0].name} first, then the plugin.\n"
    if kind_contract is None or kind_contract.slot is None:
        return tests + f"In a recipe's yaml: !apply:speechtools.build {{plugin: {kind}/{short}}}"
    recipe, yaml, option = kind_contract.slot
    trial = f"A short trial is in {_TRIALS[recipe]}.\n" if recipe in _TRIALS else ""
    where = f"In a recipe with the option --{option} (recipes/{recipe}): put {paths[0].name} beside train.py, and"
    for file in sorted((paths[0].parent / "hparams").glob("*.yaml")):
        if {option, "base"} & options_of(file) == {option}:
            where, yaml = "In this recipe:", file.name
            is_quick = (file.parent / "quick.yaml").is_file()
            trial = "For a short trial, take hparams/quick.yaml.\n" if is_quick else trial
            break
    return (
        f"{tests}{where}\n"
        f"    python train.py hparams/{yaml} --__plugins={module} --{option}={short}{folder}\n"
        f"{trial}"
        f"or in a yaml of yours beside {yaml}:\n"
        f"    base: {yaml}\n"
        f"    __plugins: !module:{module}\n"
        f"    {option}: {short}"
    )


def options_of(yaml: Path) -> set[str]:
    """The options in a recipe's yaml and in the fragments that it includes, but not those of its base."""
    text = yaml.read_text(encoding="utf-8")
    fragments = re.findall(r"[\w./-]+\.yaml", "".join(re.findall(r"^include: (.*)", text, re.MULTILINE)))
    options = set(re.findall(r"^(\w+):", text, re.MULTILINE))
    return options.union(*(options_of(yaml.parent / name) for name in fragments if (yaml.parent / name).is_file()))


def templates_folder() -> Path:
    """The folder ``templates/`` of the checkout or of the installed package.

    Raises
    ------
    SpeechtoolsError
        The package was installed without it.
    """
    in_checkout = Path(__file__).absolute().parents[1] / "templates"
    if (in_checkout / "plugin" / "encoder.py").is_file():
        return in_checkout
    try:
        installed = metadata.files("speechtools") or []
    except metadata.PackageNotFoundError:
        installed = []
    for file in installed:
        if file.parts[-3:] == ("templates", "plugin", "encoder.py") and Path(file.locate()).is_file():
            return Path(file.locate()).resolve().parents[1]
    raise SpeechtoolsError("The templates are not installed. Install speechtools with pip, from a checkout or a wheel.")


def _recipes_folder() -> Path:
    here = Path.cwd()
    registries = (folder / "speechtools" / "core" / "registry.py" for folder in (here, *here.parents))
    return next((file.parents[2] for file in registries if file.is_file()), here) / "recipes"


def _contract_text(name: str, module: str) -> str:
    """The contract of a kind as text of a docstring."""
    kind_contract = contract(name.split("/")[0])

    def wrapped(text: str, first: str = "", then: str = "") -> str:
        return textwrap.fill(text, 120, initial_indent=first, subsequent_indent=then, break_on_hyphens=False)

    laws = "\n".join(wrapped(law.sentence, "- ", "  ") for law in kind_contract.laws)
    opening = wrapped(f"The contract of the kind, which `speechtools check plugin {name} --module {module}.py` tests:")
    return f"{opening}\n\n{wrapped(kind_contract.sentence, '    ', '    ')}\n\n{laws}"


def _fill_in(source: Path, target: Path, names: dict[str, str]) -> None:
    """Copy a text with every key of ``names`` replaced, in one pass, since a value may contain a key."""
    pattern = "|".join(map(re.escape, names))
    text = re.sub(pattern, lambda match: names[match[0]], source.read_text(encoding="utf-8"))
    with write_aside(target) as aside:
        aside.write_text(text, encoding="utf-8", newline="\n")
