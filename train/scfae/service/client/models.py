"""Calls about models: promote a run, predict by it."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ..model_views import ModelDetail, ModelVersion, ModelView, Prediction
from .connection import Connection, part

_PREDICT_S = 600.0


class ModelCalls(Connection):
    """Of /models."""

    def models(self) -> list[ModelView]:
        """Return every model with its newest version."""
        return self._read_all(ModelView, "/models")

    def model(self, name: str) -> ModelDetail:
        """Return a model with its versions.

        Raises:
            ModelNotFound: There is none.
        """
        return self._read(ModelDetail, "GET", f"/models/{part(name)}")

    def promote(
        self, run: str, name: str, *, member: str | None = None, note: str = ""
    ) -> ModelVersion:
        """Make a run the next version of a model.

        Args:
            run: The job that trained it.
            name: Of the model.
            member: Of a sweep: the run's folder.
            note: Why.
        """
        body = {"run": run, "member": member, "note": note}
        return self._read(ModelVersion, "POST", f"/models/{part(name)}/promote", json=body)

    def delete_version(self, name: str, version: int) -> None:
        """Take a version of a model back; its run stays."""
        self._send("DELETE", f"/models/{part(name)}/versions/{version}")

    def predict(
        self,
        name: str,
        *,
        sample: str | None = None,
        files: Mapping[str, Path] | None = None,
        text: str | None = None,
        only: Sequence[str] = (),
        version: int | None = None,
    ) -> Prediction:
        """Return what a model says of a stored sample or of media.

        Args:
            name: Of the model.
            sample: Key of a sample in the run's store.
            files: By kind: `video`, `audio`, `image`, `text`, or `file` to go by the extension.
            text: Words.
            only: Modalities to use; all that there are if empty.
            version: The newest if not given.

        Raises:
            DecodeError: Nothing could be read of the media.
            PredictionFailed: The process that predicts died.
            ServiceBusy: Others wait already.
        """
        given: dict[str, Any] = {"params": {} if version is None else {"version": version}}
        path = f"/models/{part(name)}/predict"
        if sample is not None:
            given["json"] = {"sample": sample, "only": list(only)}
            return self._read(Prediction, "POST", path, timeout=_PREDICT_S, **given)
        with ExitStack() as stack:
            parts: list[tuple[str, Any]] = [
                (kind, (place.name, stack.enter_context(open(place, "rb"))))
                for kind, place in (files or {}).items()
            ]
            # Words go as a part without a file name, so that the form is one in any case.
            words = {"only": ",".join(only)} | ({} if text is None else {"text": text})
            parts += [(key, (None, value)) for key, value in words.items()]
            return self._read(Prediction, "POST", path, timeout=_PREDICT_S, files=parts, **given)
