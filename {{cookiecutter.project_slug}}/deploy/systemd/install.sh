#!/bin/sh
# Prepare this server as root: users, folders, settings, units. Run it again after a change of deploy/: `make server HOST=root@…`.
# It changes neither the settings nor the running processes.
set -eu
cd "$(dirname "$0")"
slug={{ cookiecutter.project_slug }}
user={{ cookiecutter.__system_user }}
settings=/etc/$slug/$slug.env

[ "$(id -u)" = 0 ] || { echo "install.sh: run it as root" >&2; exit 1; }
[ ! -L "/srv/$slug" ] || { echo "install.sh: /srv/$slug is a link; for another disk use a bind mount" >&2; exit 1; }

install -D --mode=644 sysusers.conf "/etc/sysusers.d/$slug.conf"
systemd-sysusers "/etc/sysusers.d/$slug.conf"
install -D --mode=644 tmpfiles.conf "/etc/tmpfiles.d/$slug.conf"
systemd-tmpfiles --create "/etc/tmpfiles.d/$slug.conf"

# With new secrets. awk calls the shell for each, so that no two are the same.
if [ ! -e "$settings" ]; then
    (umask 077; awk '{ while (/<secret>/) { "openssl rand -hex 32" | getline secret; close("openssl rand -hex 32")
        sub(/<secret>/, secret) } print }' settings.env > "$settings.new")
    chown "root:$user" "$settings.new"
    chmod 640 "$settings.new"
    mv "$settings.new" "$settings"
fi

for unit in "$slug"-*; do
    install --mode=644 "$unit" "/etc/systemd/system/$unit"
    case $unit in
        *.service) install -D --mode=644 common.conf "/etc/systemd/system/$unit.d/common.conf" ;;
    esac
done
systemctl daemon-reload
# The first release starts them.
systemctl enable --quiet "$slug-web.socket" "$slug-web.service"
# {% if cookiecutter.__database %}
systemctl enable --quiet "$slug-migrate.service"
systemctl enable --quiet --now "$slug-backup.timer"
# {% endif %}
# {% if cookiecutter.__tasks %}
systemctl enable --quiet "$slug-jobs.target" "$slug-worker@1.service" "$slug-scheduler.service"
# {% endif %}

# An invalid file in /etc/sudoers.d would disable sudo.
visudo --check --quiet --file=sudoers.conf
install --mode=440 sudoers.conf "/etc/sudoers.d/$slug"
install --mode=755 command.sh "/usr/local/bin/$slug"
# {% if cookiecutter.__proxied %}
# Variables that were edited on the server remain.
[ -e "/etc/$slug/proxy.env" ] || install --mode=644 proxy.env "/etc/$slug/proxy.env"
sh {{ cookiecutter.reverse_proxy }}.sh
# {% endif %}
