"""The exceptions and warnings of this package, one class for each situation that a user can meet.

An exception keeps its facts as attributes and makes its message from them: what was given, what was
expected, what to write. All derive from `TaskGroupError`, except for `TaskAbortedError`, which is no
failure; all warnings derive from `TaskGroupWarning`.
"""

from ._abort import TaskAbortedError as TaskAbortedError
from ._agents import AgentParameterError as AgentParameterError
from ._agents import AgentTaskError as AgentTaskError
from ._agents import QueuedTaskError as QueuedTaskError
from ._agents import SubmitError as SubmitError
from ._agents import UnknownQueueError as UnknownQueueError
from ._agents import WaitTimeoutError as WaitTimeoutError
from ._arguments import ArgumentError as ArgumentError
from ._arguments import MissingExtraError as MissingExtraError
from ._base import AdviceError as AdviceError
from ._base import TaskGroupError as TaskGroupError
from ._base import TaskGroupWarning as TaskGroupWarning
from ._identity import DuplicateTaskError as DuplicateTaskError
from ._identity import ParameterError as ParameterError
from ._identity import ServerNameError as ServerNameError
from ._identity import SpaceError as SpaceError
from ._identity import UnknownTaskError as UnknownTaskError
from ._names import BlankNameError as BlankNameError
from ._names import ContextValueError as ContextValueError
from ._names import MetricValueError as MetricValueError
from ._names import MissingFieldError as MissingFieldError
from ._names import NameCollisionError as NameCollisionError
from ._names import NonFiniteError as NonFiniteError
from ._names import ReportError as ReportError
from ._names import TemplateError as TemplateError
from ._names import TooManyNamesError as TooManyNamesError
from ._names import UnknownFieldError as UnknownFieldError
from ._names import UnknownMetricError as UnknownMetricError
from ._names import VocabularyError as VocabularyError
from ._processes import CallTimeoutError as CallTimeoutError
from ._processes import CarriedError as CarriedError
from ._processes import FunctionPickleError as FunctionPickleError
from ._processes import HandleError as HandleError
from ._processes import ValuePickleError as ValuePickleError
from ._processes import WorkerDiedError as WorkerDiedError
from ._processes import WorkerStartError as WorkerStartError
from ._results import AmbiguousResultError as AmbiguousResultError
from ._results import AmbiguousRunError as AmbiguousRunError
from ._results import NoHistoryError as NoHistoryError
from ._results import NoSuchParameterError as NoSuchParameterError
from ._results import NoSuchResultError as NoSuchResultError
from ._results import NoSuchRunError as NoSuchRunError
from ._runs import DeliveryError as DeliveryError
from ._runs import GroupStateError as GroupStateError
from ._runs import LoginError as LoginError
from ._runs import ModeError as ModeError
from ._runs import NoCurrentTaskError as NoCurrentTaskError
from ._runs import RunInUseError as RunInUseError
from ._runs import RunLogError as RunLogError
from ._runs import ServerError as ServerError
from ._runs import SweepOverError as SweepOverError
from ._runs import TaskClosedError as TaskClosedError
from ._runs import TaskReopenError as TaskReopenError
from ._store import StoreError as StoreError
from ._warnings import AutoLoggingWarning as AutoLoggingWarning
from ._warnings import DriftWarning as DriftWarning
from ._warnings import LeftOutWarning as LeftOutWarning
from ._warnings import LostPointsWarning as LostPointsWarning
from ._warnings import NameWarning as NameWarning
from ._warnings import NonFiniteWarning as NonFiniteWarning
from ._warnings import ProvenanceWarning as ProvenanceWarning
from ._warnings import SharedRunWarning as SharedRunWarning
from ._warnings import StoreWarning as StoreWarning

for _public in list(globals().values()):
    if isinstance(_public, type):
        _public.__module__ = __name__  # where a traceback should say that they are
