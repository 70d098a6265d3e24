"""Options of encoders: known, typed, in range; what is wrong is named with the encoder."""

from typing import Any

import pytest

from scfae.extract.options import Option, check_options
from scfae.store.errors import ConfigError

KNOWN = {
    "fps": Option(5.0, float, least=0.001),
    "stride": Option(16, int, least=1),
    "modality": Option(None, str, choices=("video", "image")),
}


def test_defaults_are_in_force_where_nothing_is_given() -> None:
    values, given = check_options("net", {"fps": 2}, KNOWN)
    assert values == {"fps": 2.0, "stride": 16, "modality": None}
    assert given == {"fps": 2.0}
    assert isinstance(values["fps"], float)


def test_whole_floats_are_integers() -> None:
    values, _ = check_options("net", {"stride": 8.0}, KNOWN)
    assert values["stride"] == 8
    assert isinstance(values["stride"], int)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"fsp": 3}, "net: unknown option 'fsp'. Did you mean 'fps'? Its options: fps, stride"),
        ({"zzzz": 3}, "net: unknown option 'zzzz'. Its options"),
        ({"stride": 1.5}, "net: option stride must be a number, not 1.5"),
        ({"stride": True}, "net: option stride must be a number, not True"),
        ({"stride": "two"}, "net: option stride must be a number, not 'two'"),
        ({"stride": 0}, "net: option stride must be at least 1, not 0"),
        ({"stride": float("inf")}, "net: option stride must be a number, not inf"),
        ({"stride": float("nan")}, "net: option stride must be a number, not nan"),
        ({"fps": -1}, "net: option fps must be at least 0.001, not -1"),
        ({"fps": float("nan")}, "net: option fps must be a number, not nan"),
        ({"fps": float("inf")}, "net: option fps must be a number, not inf"),
        ({"modality": "smell"}, "net: option modality must be one of video, image, not 'smell'"),
        ({"modality": 3}, "net: option modality must be one of video, image, not 3"),
    ],
)
def test_a_wrong_option_is_named(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_options("net", given, KNOWN)
    assert says in str(caught.value)


def test_an_encoder_without_options_says_so() -> None:
    with pytest.raises(ConfigError, match="Its options: none"):
        check_options("net", {"fps": 1}, {})
