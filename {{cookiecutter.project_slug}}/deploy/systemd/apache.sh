#!/bin/sh
# Write the site for the Apache of Debian and Ubuntu, as root: /etc/apache2/sites-available/{{ cookiecutter.project_slug }}.conf and the folder that it includes.
# The distribution's own files stay as they are. The limits and timeouts apply to all sites of this Apache.
set -eu
cd "$(dirname "$0")/../apache"
slug={{ cookiecutter.project_slug }}
conf=/etc/apache2/$slug
site=/etc/apache2/sites-available/$slug.conf

# If a step fails, or Apache rejects the new files, the site is as before: Apache may be restarted at any time.
former=$(mktemp -d)
restore() {
    if [ -e "$former/$slug" ]; then
        rm -r "$conf"
        cp -a "$former/$slug" "$conf"
        cp -a "$former/$slug.conf" "$site"
        echo "apache.sh: the site is as before" >&2
    else
        [ ! -e "/etc/apache2/sites-enabled/$slug.conf" ] || a2dissite --quiet "$slug"
        echo "apache.sh: the site is off until Apache accepts it" >&2
    fi
}
trap '[ "$?" = 0 ] || restore; rm -r "$former"' EXIT
trap 'exit 1' HUP INT PIPE TERM
[ ! -e "/etc/apache2/sites-enabled/$slug.conf" ] || cp -a "$conf" "$site" "$former"

mkdir -p "$conf/sites" "$conf/tls"
# RUN_ROOT: Apache's processes write to it.
install --directory --owner=www-data --group=www-data "/var/cache/apache2/$slug"
# ports.conf has the ports of sites, and a2enmod loads the modules. Names of included files start at /etc/apache2.
for file in *.conf sites/*.conf; do
    [ "$file" = httpd.conf ] || sed -e "s#\([ \"]\)conf/#\1$slug/#" -e '/^Listen ..HTTP/d' -e '/^LoadModule /d' \
        -e "s#^CustomLog /proc/self/fd/1 #CustomLog \${APACHE_LOG_DIR}/$slug.access.log #" \
        -e "s#^ErrorLog /proc/self/fd/2#ErrorLog \${APACHE_LOG_DIR}/$slug.error.log#" "$file" > "$conf/$file"
done

# The modules, but for those that are compiled in.
cat ./*.conf | sed -n 's/^ *LoadModule \([a-z0-9_]*\)_module .*/\1/p' | grep -Ev '^(log_config|logio|unixd)$' | xargs a2enmod --quiet

# Variables, those of this server last.
{
    echo "# Written by deploy/systemd/apache.sh of $slug."
    cat apache.env "/etc/$slug/proxy.env" | sed -n 's/^\([A-Z_]*\)=\(.*\)/Define \1 "\2"/p'
    echo "Include $slug/settings.conf"
    # The static files are below the link `current`.
    printf '<Directory "/srv">\n    Options FollowSymLinks\n</Directory>\n'
} > "$site"
a2ensite --quiet "$slug"
apache2ctl -t
! systemctl --quiet is-active apache2 || systemctl reload apache2
