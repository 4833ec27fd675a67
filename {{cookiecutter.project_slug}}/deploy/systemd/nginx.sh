#!/bin/sh
# Write the site for the nginx of Debian and Ubuntu, as root: /etc/nginx/sites-available/{{ cookiecutter.project_slug }} and the folder that it includes. The
# distribution's own files stay as they are.
set -eu
cd "$(dirname "$0")/../nginx"
slug={{ cookiecutter.project_slug }}
conf=/etc/nginx/$slug
enabled=/etc/nginx/sites-enabled/$slug

# If a step fails, or nginx rejects the new files, the site is as before: nginx may be restarted at any time.
former=$(mktemp -d)
restore() {
    if [ -e "$former/$slug" ]; then
        rm -r "$conf"
        cp -a "$former/$slug" "$conf"
        echo "nginx.sh: the site is as before" >&2
    else
        rm -f "$enabled"
        echo "nginx.sh: the site is off until nginx accepts it" >&2
    fi
}
trap '[ "$?" = 0 ] || restore; rm -r "$former"' EXIT
trap 'exit 1' HUP INT PIPE TERM
[ ! -e "$enabled" ] || cp -a "$conf" "$former"

mkdir -p "$conf/conf.d" "$conf/tls"
# logrotate handles the logs in this folder.
[ -e "/var/log/nginx/$slug.access.log" ] || install --owner=www-data --group=adm --mode=640 /dev/null "/var/log/nginx/$slug.access.log"
# The variables, those of this server last.
set -a
# shellcheck source=/dev/null
. ./nginx.env
# shellcheck source=/dev/null
. "/etc/$slug/proxy.env"
set +a
variables=$(sed -n 's/^\([A-Z_]*\)=.*/${\1}/p' nginx.env)

# nginx resolves names of included files from /etc/nginx.
place() {
    sed -e "s#^\( *\)include \([a-z]\)#\1include $slug/\2#" \
        -e "s#^\( *ssl_certificate\(_key\)*\) #\1 $slug/#" \
        -e "s#^access_log /dev/stdout #access_log /var/log/nginx/$slug.access.log #" \
        -e "s#^error_log stderr #error_log /var/log/nginx/$slug.error.log #"
}
for file in *.conf; do
    [ "$file" = nginx.conf ] || place < "$file" > "$conf/$file"
done
for template in templates/*.template; do
    name=$(basename "$template" .template)
    envsubst "$variables" < "$template" | place > "$conf/conf.d/$name"
done

# Before 1.25.1 HTTP/2 is an option of `listen`.
version=$(nginx -v 2>&1 | sed 's#.*nginx/\([0-9.]*\).*#\1#')
if [ "$(printf '%s\n' 1.25.1 "$version" | sort -V | head -n 1)" != 1.25.1 ]; then
    : > "$conf/http2.conf"
    sed -i 's/^\( *listen .* ssl\)/\1 http2/' "$conf/conf.d/https.site"
fi

printf '%s\n' "# Written by deploy/systemd/nginx.sh of $slug." "include $slug/http.conf;" > "/etc/nginx/sites-available/$slug"
ln -sf "../sites-available/$slug" "$enabled"
nginx -t -q
! systemctl --quiet is-active nginx || systemctl reload nginx
