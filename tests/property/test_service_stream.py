"""A stream that is cut anywhere and taken up again loses nothing and doubles nothing."""

import json
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from scfae.service.series import decimate
from scfae.service.stream import lines_from

texts = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=12)


@given(
    notes=st.lists(texts, min_size=1, max_size=12),
    cuts=st.lists(st.integers(0, 400), max_size=6),
    takes=st.lists(st.integers(1, 5), min_size=1, max_size=6),
    broken=st.sets(st.integers(0, 11), max_size=3),
)
def test_every_event_comes_once_in_order(
    notes: list[str], cuts: list[int], takes: list[int], broken: set[int]
) -> None:
    lines = [json.dumps({"type": "epoch", "step": i, "note": n}) for i, n in enumerate(notes)]
    written = [line[:9] if i in broken else line for i, line in enumerate(lines)]
    data = "".join(line + "\n" for line in written).encode()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.jsonl"
        offset, seen = 0, []
        # The file grows by pieces that end anywhere, inside a line or a character too.
        for cut, take in zip([*sorted(cuts), len(data)], takes * 7, strict=False):
            path.write_bytes(data[:cut])
            for line, after in list(lines_from(path, offset))[:take]:  # and the reader goes away
                seen.append(json.loads(line)["step"])
                offset = after
        seen += [json.loads(line)["step"] for line, _ in lines_from(path, offset)]
    assert seen == [i for i in range(len(lines)) if i not in broken]


@given(
    values=st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False), max_size=300),
    most=st.integers(4, 60),
)
def test_fewer_points_keep_ends_and_extremes(values: list[float | None], most: int) -> None:
    kept = decimate(values, most)
    assert len(kept) <= max(most, 0)
    assert kept == sorted(set(kept))
    told = [value for value in values if value is not None]
    if told:
        there = [value for i in kept if (value := values[i]) is not None]
        assert (min(there), max(there)) == (min(told), max(told))
    if values:
        assert (kept[0], kept[-1]) == (0, len(values) - 1)
