"""What is seen of a run while it trains: tasks, plasticity, progress."""

from crl.monitoring.decisions import decisions_of
from crl.monitoring.logger import LoggerPart
from crl.monitoring.memory import peak_memory
from crl.monitoring.plasticity import PlasticityRecorder, recorder_of_run
from crl.monitoring.progress import ProgressCallback
from crl.monitoring.rows import ROW_EVERY, RowCallback
from crl.monitoring.tasks import TaskCallback, tag_of
from crl.monitoring.usage import UsagePart

__all__ = [
    "ROW_EVERY",
    "LoggerPart",
    "PlasticityRecorder",
    "ProgressCallback",
    "RowCallback",
    "TaskCallback",
    "UsagePart",
    "decisions_of",
    "peak_memory",
    "recorder_of_run",
    "tag_of",
]
