"""Hiding keeps something of every sample, never shows what is absent, and has the asked rate."""

import pytest
import torch

from scfae.fusion.hiding import check_share, hide


def test_something_stays_and_nothing_appears() -> None:
    torch.manual_seed(0)
    present = torch.rand(500, 3) < 0.6
    seen = hide(present, 0.9)
    assert not (seen & ~present).any()
    assert torch.equal(seen.any(dim=1), present.any(dim=1))


def test_the_rate_is_the_share_but_for_those_kept_as_the_last() -> None:
    torch.manual_seed(0)
    hidden = ~hide(torch.ones(20_000, 2, dtype=torch.bool), 0.4)
    # Both would be hidden in 0.16 of the samples, of which one is given back.
    assert hidden.float().mean().item() == pytest.approx((2 * 0.4 - 0.16) / 2, abs=0.01)


def test_a_share_of_one_is_refused() -> None:
    with pytest.raises(ValueError, match="hidden_share"):
        check_share("hidden_share", 1.0)
