"""Why a call to the API server has failed."""

from __future__ import annotations

from ..errors import ServerError
from ..errors._base import facts, private_kind


@private_kind
@facts
class Refused(ServerError):
    """The server answered with an error that another attempt will not change.

    Attributes:
        status: The HTTP status.
        subcode: ClearML's own code for the reason, 0 without one.
    """

    status: int = 0
    subcode: int = 0


@private_kind
class Unreachable(ServerError):
    """No usable answer came within the time limit."""


@private_kind
class AnsweredByProxy(Unreachable):
    """Something between this process and the server keeps refusing the request."""


@private_kind
class AnswerTooLarge(Unreachable):
    """The answer is larger than `limits.MAX_ANSWER_BYTES`."""
