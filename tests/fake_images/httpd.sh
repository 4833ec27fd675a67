#!/bin/sh
# Debian's name of the program, and its places.
exec apache2 -d /usr/local/apache2 -f conf/httpd.conf "$@"
