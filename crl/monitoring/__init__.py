"""What is seen of a run while it trains: tasks, plasticity, progress."""

from crl.monitoring.memory import peak_memory
from crl.monitoring.plasticity import PlasticityRecorder
from crl.monitoring.progress import ProgressCallback
from crl.monitoring.rows import ROW_EVERY, RowCallback
from crl.monitoring.tasks import TaskCallback, tag_of

__all__ = [
    "ROW_EVERY",
    "PlasticityRecorder",
    "ProgressCallback",
    "RowCallback",
    "TaskCallback",
    "peak_memory",
    "tag_of",
]
