"""encoder/my-net keeps the contract of its kind: `pytest test_my_net.py`."""

import my_net  # noqa: F401, files the part

from speechtools.core import contract as contracts


def test_it_keeps_the_contract_of_its_kind():
    laws = contracts.contract("encoder").laws
    assert contracts.check("encoder/my-net") == [law.sentence for law in laws]
