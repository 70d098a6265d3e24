"""A fingerprint covers what decides the rows and nothing else; a name is a safe folder."""

from pathlib import Path
from typing import Any

import pytest

from scfae.store import ColumnInfo, column_name
from scfae.store.column import COLUMN_FILE, read_column, write_column
from scfae.store.document import read_document, write_document
from scfae.store.errors import ConfigError, CorruptShard


def make(name: str = "ge2e", modality: str = "audio", **changes: Any) -> ColumnInfo:
    fields: dict[str, Any] = {
        "encoder": "ge2e:fps=2",
        "dim": 256,
        "weights": "published",
        "weights_sha256": "a" * 64,
        "recipe": {"rate_hz": 16000, "window_s": 1.6},
        "options": {"fps": 2},
        "layer": "9",
        "dtype": "float32",
        "rows_per_second": 2.0,
        "licence": "MIT",
        "versions": {"torch": "2.8", "av": "14"},
        "compute": {"device": "cpu", "threads": 1},
    }
    return ColumnInfo.create(name, modality, **(fields | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"encoder": "ge2e"},
        {"dim": 255},
        {"weights_sha256": "b" * 64},
        {"weights_sha256": None},
        {"recipe": {"rate_hz": 8000, "window_s": 1.6}},
        {"recipe": {}},
        {"options": {"fps": 3}},
        {"layer": None},
        {"dtype": "float16"},
        {"versions": {"torch": "2.9", "av": "14"}},
    ],
    ids=str,
)
def test_fingerprint_changes_with_what_decides_the_rows(changes: dict[str, Any]) -> None:
    other = make(**changes)
    assert other.fingerprint != make().fingerprint
    (difference,) = make().differences(other)
    field = next(iter(changes))
    assert difference.startswith("weights: " if field == "weights_sha256" else f"{field}: ")


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "other"},
        {"modality": "video"},
        {"weights": "/elsewhere/ge2e.pt"},
        {"compute": {"device": "cuda", "threads": 8}},
        {"rows_per_second": None},
        {"licence": None},
        {"is_random": True},
        {"recipe": {"window_s": 1.6, "rate_hz": 16000}},
    ],
    ids=str,
)
def test_fingerprint_does_not_change_with_anything_else(changes: dict[str, Any]) -> None:
    other = make(**changes)
    assert other.fingerprint == make().fingerprint
    assert make().differences(other) == []


def test_weights_without_a_digest_count_by_their_source() -> None:
    noise = [make(weights=f"random:{k}", weights_sha256=None, is_random=True) for k in (0, 0, 1)]
    assert noise[0].fingerprint == noise[1].fingerprint != noise[2].fingerprint


def test_fingerprint_is_that_of_every_version_so_far() -> None:
    wanted = "cbc3d9f2aa07c11dc4d7a5e2eb6e844118abbbb9215f1c40f4665ff5673dc2a5"
    assert make().fingerprint == wanted


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"dim": 0}, "dim"),
        ({"dtype": "float64"}, "dtype"),
        ({"colour": "red"}, "colour"),
        ({"versions": {"torch": 2}}, r"versions\.torch"),
    ],
    ids=str,
)
def test_a_wrong_field_is_a_config_error_that_names_it(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigError, match=f"^column 'ge2e': {field}: "):
        make(**changes)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "a\\b", "-x", ".x", "a b", "ä", "a\0", "a\n", "x" * 201]
)
def test_unsafe_names_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="is no column name") as caught:
        make(name)
    assert "Value error" not in str(caught.value)


@pytest.mark.parametrize(
    ("encoder", "name"),
    [
        ("ge2e", "ge2e"),
        ("wavlm-base-plus:layer=9", "wavlm-base-plus.layer=9"),
        ("wavlm-base-plus@/x.pt:layer=9,fps=2", "wavlm-base-plus.fps=2.layer=9"),
        ("wavlm-base-plus@/x.pt:fps=2,layer=9", "wavlm-base-plus.fps=2.layer=9"),
        ("ge2e@random:0", "ge2e"),
        ("ge2e@random:0:fps=2", "ge2e.fps=2"),
        ("ge2e@hub:org/model", "ge2e"),
        ("a:path=/x/y", "a.path=-x-y"),
        ("../../etc", "etc"),
        ("@x", "column"),
    ],
)
def test_names_of_columns_sort_options_and_leave_weights_out(encoder: str, name: str) -> None:
    assert column_name(encoder) == name
    assert make(column_name(encoder)).name == name


def test_a_column_goes_to_disk_and_back(tmp_path: Path) -> None:
    write_column(tmp_path, make())
    assert read_column(tmp_path) == make()
    with pytest.raises(FileNotFoundError):
        read_column(tmp_path / "none")


def test_a_damaged_or_odd_description_is_refused_with_its_path(tmp_path: Path) -> None:
    path = tmp_path / COLUMN_FILE
    write_column(tmp_path, make())
    write_document(path, read_document(path) | {"dim": "many"})
    with pytest.raises(CorruptShard, match=f"^{path} is damaged: dim: "):
        read_column(tmp_path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CorruptShard, match=f"^{path} is damaged"):
        read_column(tmp_path)


def test_a_column_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        make().dim = 3
