#!/bin/sh
# structlog-sentry 2.2.1 with sentry-sdk 2.75.0 and structlog 26.1.0, Python 3.11 and 3.13.
# Expected: a report has the values of the log line that caused it.
# Actual: with the default `as_context=True`, or with `tag_keys="__all__"`, a report can have the values of a line that another thread
#   logs at the same time, even of the level INFO: the processor stores the values of the current line in an attribute that all threads share.
# Seen: 7 to 29 of 4,000 reports of four threads name another thread in the context `structlog` than in their message; of one thread none.
# Workaround: `as_context=False` and a list of `tag_keys`, which are read from the line itself.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check structlog-sentry==2.2.1 sentry-sdk==2.75.0 structlog==26.1.0
"$folder/venv/bin/python" - <<'PYTHON'
import logging
import sys
from concurrent.futures import ThreadPoolExecutor

import sentry_sdk
import structlog
from structlog_sentry import SentryProcessor

sys.setswitchinterval(1e-5)
reports = []
sentry_sdk.init(
    dsn="http://key@127.0.0.1:9/1",
    default_integrations=False,
    auto_enabling_integrations=False,
    before_send=lambda event, hint: reports.append(event),
)
structlog.configure(
    processors=[
        structlog.processors.add_log_level,
        SentryProcessor(event_level=logging.ERROR),
        structlog.processors.JSONRenderer(),
    ],
    logger_factory=structlog.ReturnLoggerFactory(),
)
log = structlog.get_logger()


def write(thread):
    for _ in range(1000):
        log.error(f"error of {thread}", thread=thread)
        log.info("a line", thread=thread)


def count_mixed(threads):
    reports.clear()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(write, range(threads)))
    assert len(reports) == 1000 * threads, len(reports)
    return sum(event["message"] != f"error of {event['contexts']['structlog']['thread']}" for event in reports)


alone = count_mixed(1)
# It depends on when threads switch.
together = next(filter(None, (count_mixed(4) for _ in range(20))), 0)
print(f"{alone} of 1,000 reports of one thread and {together} of 4,000 of four threads have the values of another line")
if alone or not together:
    raise SystemExit("the behavior has changed")
print("as described")
PYTHON
