"""Export of log lines. Standard output has them, too, whatever happens to the collector."""

from collections.abc import Mapping
from time import time_ns
from typing import Any

import structlog

# Private: all parts for logs have an underscore in their names (1.45.2).
from opentelemetry._logs import LogRecord, SeverityNumber

# As above.
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter

# As above.
from opentelemetry.sdk._logs import LoggerProvider

# As above.
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource

SEVERITIES = {
    "debug": SeverityNumber.DEBUG,
    "info": SeverityNumber.INFO,
    "warning": SeverityNumber.WARN,
    "error": SeverityNumber.ERROR,
    "critical": SeverityNumber.FATAL,
}
# Keys of a line that are other fields of the record.
FIELDS = {"event", "level", "timestamp", "trace_id", "span_id", "exc_info"}
SIMPLE = (bool, int, float, str)


class LogExporter:
    """Exports log lines with their values and their trace."""

    def __init__(self, name: str, resource: Resource) -> None:
        self.processor = BatchLogRecordProcessor(OTLPLogExporter())
        provider = LoggerProvider(resource, shutdown_on_exit=False)
        provider.add_log_record_processor(self.processor)
        self.logger = provider.get_logger(name)

    def export(self, line: Mapping[str, Any]) -> None:
        """Export a line, in a thread."""
        level = str(line.get("level", "info"))
        attributes = {
            key: value if isinstance(value, SIMPLE) else repr(value)
            for key, value in line.items()
            if key not in FIELDS and not key.startswith("_")
        }
        if line.get("exc_info"):
            formatted = structlog.processors.format_exc_info(None, "", dict(line))
            attributes["exception.stacktrace"] = str(formatted.get("exception", ""))
        self.logger.emit(
            LogRecord(
                timestamp=time_ns(),
                severity_text=level.upper(),
                severity_number=SEVERITIES.get(level, SeverityNumber.UNSPECIFIED),
                body=str(line.get("event", "")),
                attributes=attributes,
            )
        )
