"""Every registered plugin keeps the contract of its kind; a contract can come from anywhere."""

import laws
import pytest
import torch

import speechtools
from speechtools.core import registry
from speechtools.core.contract import Broken, Contract, Law, Subject, check, contract, contracts, needs_data_folder
from speechtools.core.errors import PluginError
from speechtools.degradations.codecs import available_codecs


@pytest.mark.parametrize("name", speechtools.available())
def test_every_plugin_keeps_its_contract(name):
    for plugin, package in (("vad/webrtc", "webrtcvad"), ("vad/silero", "silero_vad")):
        if name == plugin:
            pytest.importorskip(package, reason="the extra 'vad' is not installed")
    codecs = {f"degradation/{codec}" for codec in ("amr-nb", "amr-wb", "aac", "speex")}
    if name in codecs and name.removeprefix("degradation/") not in available_codecs():
        pytest.skip("its encoder is not installed")
    passed = check(name)
    kind_contract = contract(name.split("/")[0])
    applicable = [law.sentence for law in kind_contract.laws if law.applies(Subject(name))]
    assert passed and (kind_contract.reads_folder or passed == applicable)
    assert needs_data_folder(name) == (name.startswith("corpus/") and not name.startswith("corpus/builtin"))


@pytest.mark.parametrize("kind", contracts())
def test_every_kind_states_how_its_plugins_are_called(kind):
    assert contract(kind).sentence.startswith("build(name") and contract(kind).laws and speechtools.available(kind)


def test_a_new_kind_is_one_declaration(registry_restored):
    def counts(subject):
        seen = subject.build()([1, 2, 3])
        if seen != 3:
            raise Broken(f"{seen!r} for 3 items")

    counter = Contract("build(name)(items) -> int", laws=(Law("items are counted", counts, "Return len(items)."),))
    for _ in range(2):  # a module may be imported twice
        registry.register_kind("counter", counter)
    assert "counter" in registry.kinds()
    assert laws.keeps("counter", lambda: len) == ["items are counted"]
    laws.must_break("counter", lambda: sum, "are counted", "6 for 3 items. Return len")
    laws.must_break("counter", lambda: min(()), "are counted", "The plugin raised this error")
    with pytest.raises(PluginError, match="'encoder' has a contract"):
        registry.register_kind("encoder", counter)
    with pytest.raises(PluginError, match="'toy' has no contract .*corpus"):
        laws.keeps("toy", len)


def test_a_check_reports_each_law_and_keeps_the_random_state_and_the_threads():
    state, threads, passed = torch.get_rng_state(), torch.get_num_threads(), []
    assert check("quality/blstm", report=passed.append) == passed
    assert torch.equal(torch.get_rng_state(), state) and torch.get_num_threads() == threads
