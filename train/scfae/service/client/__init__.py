"""A typed client of the service: the same errors as the library's own, over HTTP.

```python
with Client("http://127.0.0.1:8712") as client:
    job = client.submit(read_request({"job": {"kind": "train", "config": settings}}))
    for event in client.events(job.id): ...
    client.promote(job.id, "digits")
```
"""

from .connection import DEFAULT_URL, TOKEN_VARIABLE, URL_VARIABLE
from .jobs import JobCalls
from .models import ModelCalls
from .stores import StoreCalls
from .system import SystemCalls
from .webhooks import WebhookCalls

__all__ = ["DEFAULT_URL", "TOKEN_VARIABLE", "URL_VARIABLE", "Client"]


class Client(JobCalls, ModelCalls, StoreCalls, SystemCalls, WebhookCalls):
    """A service at an address.

    Args:
        url: Where it is, a proxy's path included; $SCFAE_SERVICE or this machine if not given.
        token: An access token; $SCFAE_TOKEN if not given; none is due on the loopback address.
        timeout_s: Of one request.

    Raises:
        ConfigError: The address is none.
    """
