"""AIBrix's manager beside ours: whether it lives."""

from __future__ import annotations

from gateway_plugin.controller.coexistence import SILENT_SECONDS, AibrixWatch


def test_a_manager_that_renews_is_active_and_one_that_is_silent_is_not():
    watch = AibrixWatch()
    assert watch.is_active({"holderIdentity": "a", "renewTime": "1"}, 0)
    assert watch.is_active({"holderIdentity": "a", "renewTime": "2"}, 50)
    assert watch.is_active({"holderIdentity": "a", "renewTime": "2"}, 50 + SILENT_SECONDS - 1)
    assert not watch.is_active({"holderIdentity": "a", "renewTime": "2"}, 50 + SILENT_SECONDS)
    assert watch.is_active({"holderIdentity": "a", "renewTime": "3"}, 200)


def test_no_lease_and_one_that_was_given_back_mean_nobody():
    assert not AibrixWatch().is_active(None, 0)
    assert not AibrixWatch().is_active({"holderIdentity": "", "renewTime": "1"}, 0)
