"""Every error scfae raises on purpose, in one tree.

```
ScfaeError
├─ ConfigError(ValueError)              a field of a config or a flag; exit status 2
│  └─ FilterError                       a filter of a list; says where
├─ ManifestError(ValueError)            the list of inputs; exit status 2
├─ MediaError                           one media file
│  ├─ MediaNotFound(FileNotFoundError)
│  ├─ DecodeError                       cannot be opened or decoded
│  ├─ DecodeTimeout                     took longer than the limit
│  └─ StreamMissing                     has no stream of the wanted kind
├─ EncoderError
│  ├─ UnknownEncoder(LookupError)       exit status 2
│  ├─ WeightsUnavailable                no weights on this machine
│  └─ WeightsMismatch                   unreadable, or of another architecture
├─ StoreError
│  ├─ StoreNotFound(FileNotFoundError)
│  ├─ StoreVersionError                 written by a newer scfae
│  ├─ UnknownColumn(LookupError)
│  ├─ SchemaMismatch                    dims, dtypes or samples do not agree
│  ├─ FingerprintMismatch               the column was made by another encoder or recipe
│  ├─ CorruptShard                      bytes differ from the receipt
│  ├─ StoreLocked                       another process writes this column
│  ├─ StoreFull(OSError)                no space left where the store is
│  ├─ StoreForbidden                    the server does not allow it with these credentials
│  └─ ColumnPinned                      a run reads this column
├─ ImportRefused                        features made elsewhere that cannot be taken as they are
├─ StreamStateError                     state of another stream
├─ TaskError                            labels, splits or classes do not fit the task
├─ CheckpointError
├─ RunError
│  ├─ RunNotFound(FileNotFoundError)
│  ├─ RunStateError
│  └─ ExportError                        a run's model cannot be exported
└─ ServiceError
   ├─ JobNotFound(LookupError)
   ├─ JobStateError                      the job's state does not allow this
   │  └─ EditConflict                    it was changed since it was looked at
   ├─ AccessRefused                      no token, a wrong one, or one of too low a role
   │  └─ AttemptsExceeded                too many wrong tokens from one address
   ├─ ModelNotFound(LookupError)
   ├─ PredictionFailed                   the process that predicts died, hung or grew too large
   ├─ ServiceBusy                        it does as much of this as it can
   └─ ServiceUnreachable                 no answer, or one that is no service's
```

A message says what is wrong, where, and what to do. Every class takes one string, so errors
cross process boundaries unchanged. `exit_status` is what the command line returns for it.
"""

from typing import ClassVar


class ScfaeError(Exception):
    """Base of all errors raised on purpose."""

    exit_status: ClassVar[int] = 1


class ConfigError(ScfaeError, ValueError):
    """A setting is unknown, out of range or contradicts another; the message names the field."""

    exit_status = 2


class FilterError(ConfigError):
    """A filter of a list cannot be read; the message says at which character."""


class ManifestError(ScfaeError, ValueError):
    """The manifest or media folder cannot be used as it is."""

    exit_status = 2


class MediaError(ScfaeError):
    """One media file cannot be used."""


class MediaNotFound(MediaError, FileNotFoundError):
    """The file named by the manifest is not there."""


class DecodeError(MediaError):
    """The file cannot be opened or decoded."""


class DecodeTimeout(MediaError):
    """Decoding took longer than the limit and was stopped."""


class StreamMissing(MediaError):
    """The file has no stream of the wanted kind, e.g. a video without sound."""


class EncoderError(ScfaeError):
    """An encoder cannot be used."""


class UnknownEncoder(EncoderError, LookupError):
    """No encoder has this name."""

    exit_status = 2


class WeightsUnavailable(EncoderError):
    """The weights are not on this machine and cannot be fetched."""


class WeightsMismatch(EncoderError):
    """The weights file is unreadable or belongs to another architecture."""


class StoreError(ScfaeError):
    """A feature store cannot be used."""


class StoreNotFound(StoreError, FileNotFoundError):
    """There is no feature store at this place."""


class StoreVersionError(StoreError):
    """The store was written by a newer scfae."""


class UnknownColumn(StoreError, LookupError):
    """The store has no such feature, label or split."""

    exit_status = 2


class SchemaMismatch(StoreError):
    """Dimensions, dtypes or samples do not agree."""


class FingerprintMismatch(StoreError):
    """The column was made by another encoder, other weights or another recipe."""


class CorruptShard(StoreError):
    """A shard's bytes differ from its receipt; the message names column, shard and file."""


class StoreLocked(StoreError):
    """Another process is writing this column."""


class StoreFull(StoreError, OSError):
    """There is no space left where the store is; what was committed is whole."""


class StoreForbidden(StoreError):
    """The server of a remote store does not allow it with these credentials."""


class ColumnPinned(StoreError):
    """A run was started with this column as it is, so it is neither replaced nor dropped."""


class ImportRefused(ScfaeError):
    """Features made elsewhere cannot be taken as they are; the message names file and shape."""


class StreamStateError(ScfaeError):
    """A stream state belongs to another stream and cannot be resumed here."""


class TaskError(ScfaeError):
    """Labels, splits or classes do not fit the task."""


class CheckpointError(ScfaeError):
    """A checkpoint is missing, unreadable or belongs to another model."""


class RunError(ScfaeError):
    """A run folder cannot be used."""


class RunNotFound(RunError, FileNotFoundError):
    """There is no run at this place."""


class RunStateError(RunError):
    """The run is not in a state that allows this."""


class PartsMissing(RunStateError):
    """The run's method does not part what is shared from what is each modality's own."""


class ExportError(RunError):
    """The run's model cannot be exported; the message names the method and why."""


class ServiceError(ScfaeError):
    """The training service cannot do this."""


class JobNotFound(ServiceError, LookupError):
    """The service has no job of this id."""


class JobStateError(ServiceError):
    """The job is not in a state that allows this."""


class EditConflict(JobStateError):
    """Somebody has changed the job since it was looked at."""


class AccessRefused(ServiceError):
    """There is no token, or it is unknown or of too low a role."""


class AttemptsExceeded(AccessRefused):
    """Too many wrong tokens came from one address; the message says when to try again."""


class ModelNotFound(ServiceError, LookupError):
    """The service has no model of this name, or not this version of it."""


class PredictionFailed(ServiceError):
    """The process that predicts died, took too long or grew too large; the next one is new."""


class ServiceBusy(ServiceError):
    """The service does as much of this as it can at a time; try again."""


class ServiceUnreachable(ServiceError):
    """Nothing answers there, or what answers is not the training service."""


def named_error(name: str, message: str) -> ScfaeError:
    """Return the error of a class named as another process named it.

    Args:
        name: Of the class; what is none of ours becomes a ServiceError.
        message: Its one string.
    """
    kind = globals().get(name)
    is_ours = isinstance(kind, type) and issubclass(kind, ScfaeError)
    return (kind if is_ours else ServiceError)(message)  # type: ignore[misc]
