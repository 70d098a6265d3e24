"""Texts of a manifest: inline or a file, and what becomes of odd ones."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from scfae.extract.files import media_sha256
from scfae.extract.manifest import read_inputs
from scfae.extract.media import decode
from scfae.extract.recipe import MediaKind, StreamInfo, Window
from scfae.extract.texts import InlineText, text_source


@dataclass(frozen=True)
class Letters:
    """A recipe whose windows are the text's characters."""

    kind: MediaKind = "text"
    sample_rate_hz: None = None

    def begin(self, info: StreamInfo) -> "Letters":
        assert info.kind == "text"
        return self

    def push(self, text: str) -> list[Window]:
        codes = np.array([ord(letter) for letter in text.strip()])
        return [Window(codes, np.zeros((1, 2)))] if len(codes) else []

    def end(self) -> list[Window]:
        return []


def read(source: Path | InlineText) -> str:
    (window,) = decode(source, {"t": Letters()}).fates["t"].windows
    return "".join(map(chr, window.array))


def test_a_text_is_itself_unless_it_names_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("from a file")
    (tmp_path / "my note").write_text("no suffix, but there")
    for value, wanted in {
        "a.txt": tmp_path / "a.txt",
        "gone.txt": tmp_path / "gone.txt",
        "my note": tmp_path / "my note",
        "I read a.txt": InlineText("I read a.txt"),
        "Hello.": InlineText("Hello."),
        "a.txt\n": InlineText("a.txt\n"),
        "x" * 5_000: InlineText("x" * 5_000),
        "zero \0 byte": InlineText("zero \0 byte"),
    }.items():
        assert text_source(tmp_path, value) == wanted


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_manifest_holds_texts_of_both_kinds(suffix: str, tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("ein Wörtchen", encoding="utf-8")
    rows = {"a": "sagt, was er will", "b": "b.txt", "c": ""}
    path = tmp_path / f"m{suffix}"
    if suffix == ".csv":
        path.write_text("id,text\n" + "".join(f'{k},"{v}"\n' for k, v in rows.items()))
    else:
        path.write_text("".join(json.dumps({"id": k, "text": v}) + "\n" for k, v in rows.items()))
    a, b, c = read_inputs(path)
    assert read(a.media["text"]) == "sagt, was er will"
    assert read(b.media["text"]) == "ein Wörtchen"
    assert "text" not in c.media


def test_a_text_is_known_by_its_content(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("the same", encoding="utf-8")
    inline = InlineText("the same")
    assert media_sha256(inline) == media_sha256(path) == inline.sha256
    assert decode(inline, {"t": Letters()}).sha256 == inline.sha256
    assert media_sha256(InlineText("other")) != inline.sha256
    assert len(InlineText("\ud800").sha256) == 64  # half of a pair, as JSON can hold it


@pytest.mark.parametrize(
    ("content", "status", "says"),
    [
        (b"", "failed", "the file is empty"),
        (b" \n ", "missing", "the text is empty"),
        (b"caf\xe9", "failed", "not UTF-8"),
        (b"a\0b", "failed", "holds zero bytes"),
        (b"x" * ((16 << 20) + 1), "failed", "more than 16 MiB"),
        (b"\xef\xbb\xbfwith a mark", "ok", None),
    ],
)
def test_odd_files_have_a_fate(
    content: bytes, status: str, says: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    fate = decode(path, {"t": Letters()}).fates["t"]
    assert fate.status == status
    assert says is None or says in str(fate.reason)
    if status == "ok":
        assert read(path) == "with a mark"


def test_a_file_that_is_not_there_fails(tmp_path: Path) -> None:
    fate = decode(tmp_path / "a.txt", {"t": Letters()}).fates["t"]
    assert (fate.status, "file not found" in str(fate.reason)) == ("failed", True)
