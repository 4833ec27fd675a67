#!/bin/sh
# Run a command of the current release as the service's user, with its settings: {{ cookiecutter.project_slug }} flask routes
exec systemd-run --quiet --collect --pipe --wait \
    --property=User={{ cookiecutter.__system_user }} --property=Group={{ cookiecutter.__system_user }} --property=UMask=0027 \
    --property=EnvironmentFile=/etc/{{ cookiecutter.project_slug }}/{{ cookiecutter.project_slug }}.env \
    --property=WorkingDirectory=/srv/{{ cookiecutter.project_slug }}/current \
    --setenv=FLASK_APP={{ cookiecutter.package_name }}.wsgi --setenv=FLASK_DEBUG=0 --setenv=HOME=/var/lib/{{ cookiecutter.project_slug }} \
    /srv/{{ cookiecutter.project_slug }}/current/deploy/systemd/run.sh "$@"
