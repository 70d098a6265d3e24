"""The process that predicts: `python -m scfae.service.predictor_child FD PARENT RUN SHA256`.

It loads one run, says what it has, and answers questions one after the other, each a JSON document
over the connection. Encoders are loaded with the first question about media. It ends when its
parent does, and after an error that may have left media half read.
"""

import hashlib
import json
import sys
import threading
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfae.extract.decoder_child import watch
from scfae.extract.limits import Limits
from scfae.store.errors import ConfigError, DecodeError, RunStateError, ScfaeError

if TYPE_CHECKING:
    from scfae.train.media_inputs import MediaInput
    from scfae.train.prediction import Predictor
    from scfae.train.stored_sample import StoredSamples

LIMITS = Limits(
    timeout_s=60.0,
    max_pixels=100_000_000,
    max_file_pixels=20_000_000_000,
    max_memory_bytes=2 << 30,
)
"""Of one uploaded file: 20 gigapixels are five minutes of full HD at 30 pictures a second."""


def main(descriptor: int, parent: int, run: str, sha256: str) -> None:
    """Answer questions until the parent closes the connection.

    Args:
        descriptor: File descriptor of a duplex connection.
        parent: Process id of the parent.
        run: The run folder.
        sha256: Of the checkpoint that was promoted.
    """
    threading.Thread(target=watch, args=(parent,), daemon=True).start()
    connection = Connection(descriptor)
    try:
        _check(Path(run), sha256)
        from scfae.train.prediction import Predictor
        from scfae.train.stored_sample import StoredSamples

        predictor = Predictor(run, limits=LIMITS, ahead=0)
        stored = StoredSamples(predictor.loaded)
    except Exception as error:
        _send(connection, _failure(error))
        return
    _send(connection, {})
    with predictor:
        while True:
            try:
                question = json.loads(connection.recv_bytes())
            except (EOFError, ConnectionResetError):
                return
            try:
                answer = answered(predictor, stored, question)
            except Exception as error:
                # Of a file that was left in the middle more may be on its way.
                is_whole = "sample" in question or isinstance(error, ConfigError | DecodeError)
                _send(connection, {**_failure(error), "is_last": not is_whole})
                if not is_whole:
                    return
            else:
                _send(connection, answer)


def answered(
    predictor: "Predictor", stored: "StoredSamples", question: dict[str, Any]
) -> dict[str, Any]:
    """Return the answer to a question.

    Args:
        predictor: Of the run.
        stored: Its store's samples.
        question: `{"sample": key}` or `{"files": {kind: path}, "text": words}`, with `only`.

    Raises:
        ScfaeError: There is no such sample, no such modality, or nothing could be read.
    """
    from scfae.train.answering import line, subset_answers

    only = question.get("only") or None
    if "sample" in question:
        predictor.check(only)
        found = stored.rows(question["sample"]).only(only)
    else:
        (found,) = predictor.read([_media(question)], only=only)
    whole = line(predictor.loaded, found, predictor.device)
    if "error" in whole:
        raise DecodeError(_without_places(whole["error"], question))
    return {**whole, "subsets": subset_answers(predictor.loaded, found, predictor.device)}


def _media(question: dict[str, Any]) -> "MediaInput":
    from scfae.extract.texts import InlineText, MediaSource
    from scfae.train.media_inputs import MediaInput

    sources: dict[str, MediaSource] = {k: Path(p) for k, p in question["files"].items()}
    if question.get("text") is not None:
        sources["text"] = InlineText(question["text"])
    return MediaInput({}, sources)


def _without_places(text: str, question: dict[str, Any]) -> str:
    """Return a message with files called by their kind: where uploads lie is nobody's concern."""
    for kind, path in question.get("files", {}).items():
        text = text.replace(path, f"the {kind}")
    return text


def _check(run: Path, sha256: str) -> None:
    found = hashlib.sha256((run / "checkpoints" / "best.pt").read_bytes()).hexdigest()
    if found != sha256:
        raise RunStateError(
            "the run was trained further since it was promoted, and its checkpoint is another "
            "now: promote it again."
        )


def _failure(error: Exception) -> dict[str, Any]:
    if isinstance(error, ScfaeError):
        return {"failure": type(error).__name__, "detail": str(error)}
    traceback.print_exc()
    said = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return {"failure": "PredictionFailed", "detail": f"the prediction failed ({said})."}


def _send(connection: Connection, document: dict[str, Any]) -> None:
    connection.send_bytes(json.dumps(document, allow_nan=False).encode())


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4])
