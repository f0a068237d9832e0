"""Every registered plugin keeps the contract of its kind; a contract can come from anywhere."""

import laws
import pytest
import torch

import speechtools
from speechtools.core import registry
from speechtools.core.contract import (
    Broken,
    Contract,
    Law,
    Subject,
    check,
    contract,
    contracts,
    needs_data_folder,
    register_kind,
)
from speechtools.core.errors import PluginError


@pytest.mark.parametrize("name", speechtools.available())
def test_every_plugin_keeps_its_contract(name):
    if name == "vad/webrtc":
        pytest.importorskip("webrtcvad", reason="the extra 'vad' is not installed")
    passed = check(name)
    kind_contract = contract(name.split("/")[0])
    applicable = [law.sentence for law in kind_contract.laws if law.applies(Subject(name))]
    assert kind_contract.reads_folder or passed == applicable
    assert passed
    assert needs_data_folder(name) == (name.startswith("corpus/") and not name.startswith("corpus/builtin"))


@pytest.mark.parametrize("kind", contracts())
def test_every_kind_states_how_its_plugins_are_called(kind):
    assert contract(kind).sentence.startswith("build(name")
    assert contract(kind).laws
    assert speechtools.available(kind)


@pytest.fixture
def counter(monkeypatch):
    """A kind of a module of the user's."""

    def counts(subject):
        seen = subject.build()([1, 2, 3])
        if seen != 3:
            raise Broken(f"{seen!r} for 3 items")

    monkeypatch.setattr(registry, "_contracts", dict(registry._contracts))
    own = Contract("build(name)(items) -> int", laws=(Law("items are counted", counts, "Return len(items)."),))
    register_kind("counter", own)
    return own


def test_a_new_kind_is_one_declaration(counter):
    assert "counter" in registry.kinds()
    assert laws.keeps("counter", lambda: len) == ["items are counted"]
    laws.must_break("counter", lambda: sum, "are counted", "6 for 3 items. Return len")
    laws.must_break("counter", lambda: min(()), "are counted", "The plugin raised this error")
    register_kind("counter", counter)  # a module may be imported twice
    with pytest.raises(PluginError, match="'encoder' has a contract"):
        register_kind("encoder", counter)


def test_what_cannot_be_tested_is_an_error(tmp_path):
    with pytest.raises(PluginError, match="Did you mean 'features/magnitude'"):
        check("features/magnitud")
    with pytest.raises(PluginError, match="'toy' has no contract .*corpus"):
        laws.keeps("toy", len)
    with pytest.raises(PluginError, match="reads no folder. Remove data_folder"):
        check("features/magnitude", data_folder=tmp_path)


def test_a_check_keeps_the_random_state_and_the_threads():
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    check("quality/blstm")
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_laws_are_reported_as_they_pass_and_the_cause_stays_attached():
    passed = []
    with pytest.raises(PluginError, match="ZeroDivisionError") as caught:
        laws.keeps("features", lambda: 1 / 0, report=passed.append)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert passed == []
    assert check("vad/energy", report=passed.append) == passed
