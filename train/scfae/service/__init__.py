"""The training service: a queue of jobs, workers that run them, and HTTP over both.

```
SERVICE/
  runs/<id>/           one job; the folder is the truth
    job.json             what was asked, by whom; never changed
    history.jsonl        every change of its state since: when, by whom, why
    request.yaml         the settings for the command that does it
    process.json         its last process, by that process's word
    exit.json            how its last process ended
    log.txt              what its processes printed
    run/                 the run (or sweep) folder of a training
    artifacts/           what other kinds of jobs write
  service.db           an index of the folders; `scfae service reindex` makes it anew
  worker.log           of the worker beside the server
  beside.json          its process, and that server's
  models/<name>/<n>/   runs that were promoted; see `models`
  predict.log          of the process that predicts, its last
  uploads/             media that are being predicted
  trash/               jobs that were deleted
  tokens.json          hashes of access tokens
  audit.jsonl          every change asked for over HTTP, and every refusal
  webhooks.json        who is told when jobs end, with the secrets to sign with
  webhooks.db          what they are still to be told, and what became of the rest
```

`Queue` is the one way to change a job: it appends to the folder and brings the index up to date,
under the index's lock. `Worker` starts one process a job, in a session of its own, so that neither
a worker's nor the server's end takes a training with it.
"""

from .folder import JobFolder
from .index import Page
from .jobs import Job, JobRequest
from .queue import Queue
from .record import HistoryEvent, JobRecord, Process
from .roots import Roots
from .states import ENDED, State

__all__ = [
    "ENDED",
    "HistoryEvent",
    "Job",
    "JobFolder",
    "JobRecord",
    "JobRequest",
    "Page",
    "Process",
    "Queue",
    "Roots",
    "State",
]
