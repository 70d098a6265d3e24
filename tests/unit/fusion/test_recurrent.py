"""The ragged LSTM is torch's on packed sequences."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from scfae.fusion.recurrent import BiLSTM, reverse_rows

LENGTHS = torch.tensor([4, 2, 1])
VALID = torch.arange(4) < LENGTHS[:, None]


def state_of(ours: BiLSTM) -> dict[str, Tensor]:
    state = {}
    for layers, suffix in ((ours.forwards, ""), (ours.backwards, "_reverse")):
        for i, layer in enumerate(layers):
            for name, value in layer.state_dict().items():
                state[name.replace("_l0", f"_l{i}{suffix}")] = value
    return state


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("num_layers", [1, 2])
def test_it_is_torchs_lstm_on_packed_sequences(num_layers: int, bidirectional: bool) -> None:
    torch.manual_seed(0)
    ours = BiLSTM(5, 3, num_layers=num_layers, bidirectional=bidirectional)
    theirs = nn.LSTM(5, 3, num_layers, batch_first=True, bidirectional=bidirectional)
    theirs.load_state_dict(state_of(ours))
    rows = torch.randn(3, 4, 5)
    packed, (last, _) = theirs(pack_padded_sequence(rows, LENGTHS, batch_first=True))
    expected, _ = pad_packed_sequence(packed, batch_first=True)
    states, final = ours(rows, VALID)
    torch.testing.assert_close(states, expected)
    directions = 2 if bidirectional else 1
    torch.testing.assert_close(final, torch.cat(list(last[-directions:]), dim=1))
    assert ours.output_dim == states.shape[2]


def test_what_is_absent_is_zero() -> None:
    torch.manual_seed(0)
    valid = VALID.clone()
    valid[1] = False
    states, final = BiLSTM(5, 3)(torch.randn(3, 4, 5), valid)
    assert (states[1] == 0).all()
    assert (final[1] == 0).all()


def test_rows_turn_round_within_their_length() -> None:
    rows = torch.arange(12.0).view(3, 4, 1)
    turned = reverse_rows(rows, VALID)[:, :, 0]
    assert turned.tolist() == [[3, 2, 1, 0], [5, 4, 6, 7], [8, 9, 10, 11]]
