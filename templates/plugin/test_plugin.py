"""encoder/my-net keeps the contract of its kind: `pytest test_my_net.py`."""

import my_net  # noqa: F401, registers the plugin

from speechtools.core.contract import check, contract


def test_it_keeps_its_contract():
    assert check("encoder/my-net") == [law.sentence for law in contract("encoder").laws]
