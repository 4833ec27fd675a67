#!/bin/sh
# Render the templates with the variables of the environment.
set -e
for template in /etc/nginx/templates/*.template; do
    envsubst "$(printf '${%s} ' $(env | cut -d= -f1))" < "$template" > "/etc/nginx/conf.d/$(basename "$template" .template)"
done
