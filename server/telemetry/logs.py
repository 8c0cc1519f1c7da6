"""Log lines as text, or as JSON with one object a line."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""What every record has; the rest is what the line's author added with ``extra``."""


class JsonLines(logging.Formatter):
    """time (ISO 8601, UTC), level, logger, message, and what was added: session, reason, ..."""

    def format(self, record: logging.LogRecord) -> str:
        """One object."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in OWN}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def set_up(form: str, text: str) -> None:
    """Log warnings and worse of everybody to standard error.

    Args:
        form: ``text`` or ``json``.
        text: the format of text.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if form == "json" else logging.Formatter(text))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
