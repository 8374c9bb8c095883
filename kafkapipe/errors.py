"""The exceptions of kafkapipe.

KafkaPipeError
├── ConfigError        a setting is wrong: nothing was tried
├── RetryableError     trying again can help
│   ├── QueueFull      the local queue has no room now
│   └── DeadlineError  not done in time; it may still happen
├── RejectedError      this request or record will never be accepted
├── FatalError         the client cannot go on; make a new one
└── ClosedError        the object was closed
"""


class KafkaPipeError(Exception):
    """Base of all errors of kafkapipe.

    ``op`` names the operation (``"produce"``, ``"create topic"``), ``code`` the server's or library's own
    name of the error (``"MSG_SIZE_TOO_LARGE"``, ``"HTTP 403"``), ``message`` what happened, where, and what
    to do.
    """

    def __init__(self, message: str, *, op: str = "", code: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.op = op
        self.code = code


class ConfigError(KafkaPipeError):
    """A setting is wrong; nothing was tried."""


class RetryableError(KafkaPipeError):
    """Trying again can help."""


class QueueFull(RetryableError):  # noqa: N818 - the name is part of the public interface
    """The local queue has no room now."""


class DeadlineError(RetryableError):
    """The operation was not done in time; it may still happen."""


class RejectedError(KafkaPipeError):
    """This request or record will never be accepted as it is."""


class FatalError(KafkaPipeError):
    """The client cannot go on; make a new one."""


class ClosedError(KafkaPipeError):
    """The object was closed."""
