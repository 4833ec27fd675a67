#!/bin/sh
# Its own start script would change the user.
exec /usr/lib/rabbitmq/bin/rabbitmq-server "$@"
