"""The ``README.md`` of an exported model: what it does, its training and metrics, how to load it, and its limits."""

import inspect
from collections.abc import Mapping
from typing import Any

_CARD = """\
---
{metadata}
---
# {title}

{task}

## Use

{use}

## Training

{training}

## Results

{results}

## Limits

The metrics are those of one test set. Test the model on recordings like yours, with their language, devices and noises,
before you rely on it.
"""


def model_card(interface: type | None, values: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    """Return the text of a card, which begins with what the Hugging Face hub shows of a model.

    Parameters
    ----------
    interface : type, optional
        The class that loads the model. The first line of its docstring names the task, and its attribute ``HUB_TASK``
        that of the hub.
    values : mapping
        Plain values of the model: the sample rate and the scale are in the card.
    facts : mapping
        ``trained_on``, and metrics in ``reached``.

    Examples
    --------
    >>> card = model_card(None, {"sample_rate": 16000}, {"trained_on": "TIMIT", "reached": {"eer": 0.02, "epoch": 3}})
    >>> [line for line in card.splitlines() if line[:2] in ("Tr", "| ")]
    ['Trained on TIMIT. Audio at 16000 Hz.', '| eer | epoch |', '| --- | --- |', '| 0.02 | 3 |']
    """
    training = f"Trained on {facts.get('trained_on') or 'data that the export does not name'}."
    if "sample_rate" in values:
        training += f" Audio at {values['sample_rate']} Hz."
    if "scale" in values:
        training += f" Scores on the scale `{values['scale']}`."
    metrics = {key: value for key, value in (facts.get("reached") or {}).items() if isinstance(value, int | float)}
    rows = [list(metrics), ["---"] * len(metrics), [f"{value:.4g}" for value in metrics.values()]]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    use = "Load this folder with `from_hparams` of the interface that it was exported for."
    title, task = "A model of speechtools", "Exported without the name of its interface."
    if interface is not None:
        title, task = interface.__name__, (inspect.getdoc(interface) or "").partition("\n")[0]
        module = interface.__module__
        module = "speechtools.inference" if module.startswith("speechtools.") else module
        use = (
            f"```python\nfrom {module} import {title}\n\n"
            f'model = {title}.from_hparams("pretrained")  # this folder, or its id owner/name on the hub\n```'
        )
    results = table if metrics else "The export has no metrics."
    metadata = _metadata(title, getattr(interface, "HUB_TASK", ""), facts.get("trained_on") or "unknown", metrics)
    return _CARD.format(metadata=metadata, title=title, task=task, use=use, training=training, results=results)


def _metadata(title: str, task: str, trained_on: str, metrics: Mapping[str, float]) -> str:
    """The metadata of the hub, as YAML."""
    from huggingface_hub import EvalResult, ModelCardData

    task = task or "audio-classification"
    results = [
        EvalResult(task, dataset_type="test-set", dataset_name=trained_on, metric_type=name, metric_value=value)
        for name, value in metrics.items()
        if name != "epoch"
    ]
    data = ModelCardData(
        library_name="speechtools",
        pipeline_tag=task,
        tags=["audio", "speech"],
        model_name=title if results else None,
        eval_results=results or None,
        ignore_metadata_errors=True,
    )
    return data.to_yaml().strip()
