"""MCTN: translations and what they are compared with; only the source is read."""

import pytest
import torch

from scfae.fusion import build_fusion, fusion_info
from scfae.fusion.mctn import MCTN, Decoder
from scfae.fusion.recurrent import BiLSTM

DIMS = {"t": 8, "a": 6, "v": 10}


def make(**options: object) -> MCTN:
    torch.manual_seed(0)
    model = build_fusion("mctn", DIMS, num_outputs=3, hidden=4, **options)
    assert isinstance(model, MCTN)
    return model.eval()


def test_a_decoder_attends_and_reads_what_it_wrote() -> None:
    torch.manual_seed(0)
    decoder = Decoder(4)
    states, valid = torch.randn(1, 3, 4), torch.tensor([[True, True, False]])
    states = states.masked_fill(~valid[:, :, None], 0.0)
    hidden = cell = states[:, :2].mean(dim=1)
    written = torch.zeros(1, 4)
    out = decoder(states, valid, 2)
    for step in range(2):
        weights = (states[0, :2] @ decoder.query(hidden)[0]).softmax(dim=0)
        heard = (weights[:, None] * states[0, :2]).sum(dim=0)[None]
        hidden, cell = decoder.cell(torch.cat([written, heard], dim=1), (hidden, cell))
        written = torch.tanh(decoder.write(torch.cat([hidden, heard], dim=1)))
        assert torch.allclose(out[:, step], written, atol=1e-6)


def test_the_states_of_both_directions_are_added() -> None:
    model = make()
    features = {m: torch.randn(2, 3, d) for m, d in DIMS.items()}
    rows = model.read["t"](features["t"])
    for encoder in model.encoders:
        assert isinstance(encoder, BiLSTM)
        onward = encoder.forwards[0](rows)[0]
        rows = onward + encoder.backwards[0](rows.flip(1))[0].flip(1)
    states = model.last(rows, torch.ones(2, 3, dtype=torch.bool))[0]
    fused = model.pool(states, torch.ones(2, 3, dtype=torch.bool))
    assert torch.allclose(model(features).fused, fused, atol=1e-6)


def test_losses_are_errors_over_rows_of_samples_with_source_and_target() -> None:
    model = make()
    features = {m: torch.randn(3, 1, d) for m, d in DIMS.items()}
    present = torch.tensor([[True, True, True], [True, True, False], [False, True, True]])
    out = model(features, present)
    error = {m: (out.recon[m] - features[m][:, 0]).square().mean(dim=1) for m in DIMS}
    assert out.losses["translation_1"].item() == pytest.approx(error["a"][:2].sum().item() / 3)
    assert out.losses["translation_2"].item() == pytest.approx(error["v"][0].item() / 3)
    assert out.losses["cycle"].item() == pytest.approx(error["t"][:2].sum().item() / 3)


def test_only_the_source_is_read() -> None:
    model = make(source="a")
    features = {m: torch.randn(2, 3, d) for m, d in DIMS.items()}
    changed = {m: x + (m != "a") for m, x in features.items()}
    assert torch.equal(model(features).fused, model(changed).fused)
    present = torch.tensor([[True, False, True]] * 2)
    assert torch.equal(model(features, present).fused, torch.zeros(2, 4))


def test_an_unknown_source_is_refused() -> None:
    with pytest.raises(ValueError, match="source"):
        make(source="smell")


def test_all_later_translations_are_one_loss_of_the_recipes_weight() -> None:
    dims = dict.fromkeys("abcde", 3)
    model = build_fusion("mctn", dims, num_outputs=2, hidden=4).eval()
    output = model({name: torch.randn(4, 2, 3) for name in dims})
    assert set(output.losses) == set(fusion_info("mctn").recipe.loss_weights)
    features = {name: torch.randn(4, 1, 3) for name in dims}
    output = model(features)
    errors = [(output.recon[m] - features[m][:, 0]).square().mean() for m in "cde"]
    torch.testing.assert_close(output.losses["translation_2"], sum(errors, torch.zeros(())))
