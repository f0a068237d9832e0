"""A place to start from: a recipe that trains at once, or a plugin that keeps its contract, under a name of one's own.

Both are copied from ``templates/``, which holds working code under the names ``my-corpus/my-task`` and ``my-net``. What
exists is never overwritten.
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
from speechtools.core.contract import contract
from speechtools.core.errors import ConfigError, PluginError, SpeechtoolsError
from speechtools.core.files import write_aside

_RECIPE = "my-corpus/my-task"
_RECIPE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]*/[A-Za-z0-9][A-Za-z0-9-]*")


def new_recipe(name: str, folder: str | Path | None = None) -> Path:
    """Copy the template of a recipe to ``<folder>/<corpus>/<task>``, with its name filled in.

    Parameters
    ----------
    name : str
        ``corpus/task``, as in ``TIMIT/quality``.
    folder : str or Path, optional
        Without it: ``recipes/`` of the checkout that the current folder lies in, or else of the current folder.

    Returns
    -------
    Path
        The recipe's folder.

    Raises
    ------
    ConfigError
        The name is not of that form, or the folder exists already.
    """
    if not _RECIPE_NAME.fullmatch(name):
        near = re.sub(r"[\s_.]+", "-", name)
        raise ConfigError(
            f"{name!r} is no name of a recipe: it must read corpus/task in letters, digits and hyphens, beginning with "
            f"a letter, as in {near if _RECIPE_NAME.fullmatch(near) else 'TIMIT/quality or my-corpus/my-task'}. "
            "Rename it."
        )
    root = _recipes_folder() if folder is None else Path(folder).expanduser()
    if root.is_file():
        raise ConfigError(f"--folder={root} is a file. Give the folder that the recipe is to be made in.")
    target = root / name
    if target.exists():
        raise ConfigError(f"{target} exists already, and nothing in it was changed. Choose another name.")
    template = templates_folder() / "recipe" / "task"
    target.parent.mkdir(parents=True, exist_ok=True)
    names = {_RECIPE: name, "my-task": name.split("/")[1]}
    with tempfile.TemporaryDirectory(prefix=".new-", dir=target.parent) as aside:
        made = Path(aside) / "recipe"
        # A template that was tried where it lies has results, too.
        shutil.copytree(template, made, ignore=shutil.ignore_patterns("results", "__pycache__", ".*"))
        for path in (path for path in made.rglob("*") if path.is_file()):
            path.write_text(_renamed(path.read_text(encoding="utf-8"), names), encoding="utf-8", newline="\n")
        made.rename(target)
    return target


def new_plugin(name: str, folder: str | Path = ".") -> tuple[Path, Path]:
    """Write a module that files a small working part under ``kind/name``, and a test that it keeps its contract.

    For ``encoder/my-net`` they are ``my_net.py`` and ``test_my_net.py``.

    Raises
    ------
    PluginError
        The name is not of the form ``kind/name``, the kind is unknown, a part has the name already, or a module of
        Python or of an installed package does.
    ConfigError
        One of the two files exists already.
    """
    registry.plugin(name)  # refuses what is no kind/name
    kind = name.split("/")[0]
    if name in registry.available(kind):
        raise PluginError(
            f"The plugin name {name!r} is taken: {registry.place(registry.find(name))} files it. Choose another name."
        )
    template, test = (templates_folder() / "plugin" / file for file in (f"{kind}.py", f"test_{kind}.py"))
    if not template.is_file():
        raise PluginError(f"The kind {kind!r} has no template: add {template}.")
    if not test.is_file():
        test = test.with_name("test_plugin.py")
    module = name.split("/")[1].replace("-", "_")
    folder = Path(folder).expanduser()
    paths = folder / f"{module}.py", folder / f"test_{module}.py"
    for path in paths:
        if path.exists():
            raise ConfigError(f"{path} exists already, and was not changed. Choose another name, or another --folder.")
    if not module.isidentifier() or keyword.iskeyword(module):
        raise PluginError(
            f"{name!r} would lie in {module}.py, which Python cannot import. Begin the name with a letter, and take no "
            "word of the language."
        )
    if importlib.util.find_spec(module) is not None:
        raise PluginError(
            f"{name!r} would lie in {module}.py, and hide the module {module!r} that Python or a package has. Choose "
            "another name."
        )
    camel = "".join(word.capitalize() for word in module.split("_"))
    text = template.read_text(encoding="utf-8")
    suffix = next(iter(re.findall(r"MyNet(\w+)", text)), "")  # keeps the class apart from the names it imports
    names = {
        f"{kind}/my-net": name,
        "encoder/my-net": name,
        '"encoder"': f'"{kind}"',
        f"MyNet{suffix}": camel if camel.endswith(suffix) else camel + suffix,
        "my_net": module,
        "THE CONTRACT": _promises(name, module),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for path, source in zip(paths, (template, test), strict=True):
        with write_aside(path) as aside:
            aside.write_text(_renamed(source.read_text(encoding="utf-8"), names), encoding="utf-8", newline="\n")
    return paths


def how_to_use_recipe(name: str, target: Path) -> str:
    """The next commands, for a recipe that :func:`new_recipe` made."""
    run = f"results/{name.split('/')[1]}-builtin/1234"
    return (
        f"{target} is made. Next:\n"
        f"    cd {shlex.quote(str(target))}\n"
        "    python train.py hparams/train.yaml\n"
        f"    speechtools verify {run}/examples/one.wav {run}/examples/same.wav --model {run}/pretrained\n"
        "README.md there says what to change; hparams/quick.yaml is what the tests run."
    )


def how_to_use_plugin(name: str, paths: tuple[Path, Path]) -> str:
    """The next commands, for a part that :func:`new_plugin` wrote."""
    kind, short = name.split("/")
    module = paths[0].stem
    tests = (
        f"{paths[0]} and {paths[1]} are written. They work as they are:\n"
        f"    speechtools check {name} --module {paths[0]}\n"
        f"    pytest {paths[1]}\n"
    )
    slot = contract(kind).slot
    if slot is None:
        return tests + f"No recipe has a slot for the kind {kind!r} yet. In Python: speechtools.build({name!r}, …)"
    recipe, yaml, option = slot
    where = f"In a recipe with a slot for it, as recipes/{recipe}: put {paths[0].name} beside its train.py, and"
    for own in sorted((paths[0].parent / "hparams").glob("*.yaml")):
        text = "\n" + own.read_text(encoding="utf-8")
        if f"\n{option}: " in text and "\nbase: " not in text:
            where, yaml = "In this recipe:", own.name
            break
    return (
        f"{tests}{where}\n"
        f"    python train.py hparams/{yaml} --__plugins={module} --{option}={short}\n"
        f"or, for good, in a yaml of your own beside {yaml}:\n"
        f"    base: {yaml}\n"
        f"    __plugins: !module:{module}\n"
        f"    {option}: {short}"
    )


def templates_folder() -> Path:
    """``templates/`` of the checkout that this package is used from, or as it was installed.

    Raises
    ------
    SpeechtoolsError
        The package was installed without them.
    """
    beside = Path(__file__).absolute().parents[1] / "templates"
    if (beside / "plugin" / "encoder.py").is_file():
        return beside
    try:
        installed = metadata.files("speechtools") or []
    except metadata.PackageNotFoundError:
        installed = []
    for file in installed:
        if file.parts[-3:] == ("templates", "plugin", "encoder.py") and Path(file.locate()).is_file():
            return Path(file.locate()).resolve().parents[1]
    raise SpeechtoolsError(
        "The templates were not installed with this package, so there is nothing to copy. Install it with pip, from a "
        "checkout or a wheel."
    )


def _recipes_folder() -> Path:
    here = Path.cwd()
    checkouts = (each for each in (here, *here.parents) if (each / "speechtools" / "core" / "registry.py").is_file())
    return next(checkouts, here) / "recipes"


def _promises(name: str, module: str) -> str:
    """The contract of a kind as text of a docstring."""
    of_kind = contract(name.split("/")[0])

    def wrapped(text: str, first: str = "", then: str = "") -> str:
        return textwrap.fill(text, 120, initial_indent=first, subsequent_indent=then, break_on_hyphens=False)

    laws = "\n".join(wrapped(law.sentence, "- ", "  ") for law in of_kind.laws)
    opening = wrapped(f"The contract of its kind, which `speechtools check {name} --module {module}.py` tests:")
    return f"{opening}\n\n{wrapped(of_kind.sentence, '    ', '    ')}\n\n{laws}"


def _renamed(text: str, names: dict[str, str]) -> str:
    """``text`` with every key of ``names`` replaced, all in one pass: a new name may hold an old one."""
    return re.sub("|".join(map(re.escape, names)), lambda found: names[found[0]], text)
