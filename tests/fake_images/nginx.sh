#!/bin/sh
# Render the templates, and serve.
set -e
/docker-entrypoint.d/20-envsubst-on-templates.sh
exec "$@"
