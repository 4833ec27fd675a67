#!/bin/sh
# redis-py 8.1.0 beside opentelemetry-sdk 1.45.2, Python 3.11 to 3.14.
# Expected: `import redis` costs the same whether OpenTelemetry is installed or not, since its metrics are off by default
#   and the program uses no OpenTelemetry.
# Actual: if the SDK is installed, `import redis` imports opentelemetry.sdk.metrics: 35 modules of the SDK. A program that needs the SDK
#   only when an endpoint is set pays for it in each process and command.
# Workaround: none found; nothing of the SDK's traces is imported.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check redis==8.1.0 opentelemetry-sdk==1.45.2
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import redis

found = sorted(name for name in sys.modules if name.startswith("opentelemetry.sdk"))
print(f"redis {redis.__version__} imported {len(found)} modules of the SDK, among them:", *found[:3])
assert "opentelemetry.sdk.metrics" in found
assert "opentelemetry.sdk.trace" not in found
PYTHON
