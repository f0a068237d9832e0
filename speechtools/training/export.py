"""Export of a trained model as a folder that the pretrained interfaces load."""

import io
import json
from collections.abc import Sequence
from pathlib import Path

import ruamel.yaml
import torch

from speechtools.core.files import write_aside

_HYPERPARAMS = """\
# Written by a recipe at the end of its training. Load it with from_hparams(source=<this folder>).
{values}modules:
{modules}
pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
    loadables:
{loadables}
"""


def export(hparams: dict, keys: Sequence[str], modules: dict[str, torch.nn.Module], facts: dict | None = None) -> Path:
    """Write ``pretrained/`` into the folder of a run. Call it only on the first process.

    Parameters
    ----------
    hparams : dict
        Of the run. The definitions are copied from the ``hyperparams.yaml`` in its output folder.
    keys : sequence of str
        Keys of the yaml that inference needs: definitions of plugins, rates, scales.
    modules : dict
        The trained modules by name. The names are among ``keys``.
    facts : dict, optional
        Further keys, such as what the model was trained on and its metrics.

    Returns
    -------
    Path
        The folder, as ``from_hparams`` of the pretrained interfaces takes it.
    """
    run = Path(hparams["output_folder"])
    yaml, text = ruamel.yaml.YAML(), io.StringIO()
    tree = yaml.load((run / "hyperparams.yaml").read_text(encoding="utf-8"))
    selection = ruamel.yaml.comments.CommentedMap({key: tree[key] for key in keys})
    for value in selection.values():
        if hasattr(value, "ca"):  # comments between this key and the next
            value.ca.comment = None
            value.ca.items.clear()
    yaml.dump(selection, text)
    if facts:
        yaml.dump(json.loads(json.dumps(facts, default=str)), text)
    references = {indent: "\n".join(f"{indent * ' '}{name}: !ref <{name}>" for name in modules) for indent in (4, 8)}
    folder = run / "pretrained"
    with write_aside(folder / "hyperparams.yaml") as aside:
        content = _HYPERPARAMS.format(values=text.getvalue(), modules=references[4], loadables=references[8])
        aside.write_text(content, encoding="utf-8")
    for name, module in modules.items():
        module = getattr(module, "module", module)  # without its DDP wrapper
        with write_aside(folder / f"{name}.ckpt") as aside:
            torch.save({key: value.cpu() for key, value in module.state_dict().items()}, aside)
    return folder
