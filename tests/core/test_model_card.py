"""The card of an export, as the Hugging Face hub reads it."""

import math

import pytest
from huggingface_hub import ModelCard

from speechtools.core.model_card import model_card
from speechtools.inference import QualityNet, SpeechEnhancer


def test_metadata_of_the_hub():
    reached = {"lcc": 0.9234, "mse": 0.2, "epoch": 3}
    card = ModelCard(model_card(QualityNet, {"sample_rate": 16000}, {"trained_on": "TIMIT: 'x'", "reached": reached}))
    assert card.data.library_name == "speechtools" and card.data.pipeline_tag == "audio-classification"
    found = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert found == {"lcc": 0.9234, "mse": 0.2}
    assert card.data.eval_results[0].dataset_name == "TIMIT: 'x'"
    assert card.text.lstrip().startswith("# QualityNet")


@pytest.mark.parametrize("facts", [{}, {"trained_on": None, "reached": {}}, {"reached": {"eer": math.nan}}])
def test_metadata_without_metrics(facts):
    card = ModelCard(model_card(SpeechEnhancer, {}, facts))
    assert card.data.pipeline_tag == "audio-to-audio"
    assert len(card.data.eval_results or []) == len(facts.get("reached") or {})


def test_a_model_without_an_interface():
    assert ModelCard(model_card(None, {}, {})).data.library_name == "speechtools"
