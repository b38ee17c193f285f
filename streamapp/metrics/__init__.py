"""What a worker tells Prometheus: one table, read when it is asked for.

An event pays for plain counters and histograms alone; nothing here runs for it. The pages have a thread of
their own, so everything is read as one reads what another thread owns.
"""

from streamapp.metrics.exposition import CONTENT_TYPE, exposition, markdown_table
from streamapp.metrics.metric import Metric, WorkerParts
from streamapp.metrics.table import METRICS

__all__ = ["CONTENT_TYPE", "METRICS", "Metric", "WorkerParts", "exposition", "markdown_table"]
