#!/bin/sh
# Write the site for the nginx of Debian and Ubuntu, as root: /etc/nginx/sites-available/{{ cookiecutter.project_slug }} and the folder that it includes. The
# distribution's own files stay as they are.
set -eu
cd "$(dirname "$0")/../nginx"
slug={{ cookiecutter.project_slug }}
conf=/etc/nginx/$slug

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
ln -sf "../sites-available/$slug" "/etc/nginx/sites-enabled/$slug"
if ! nginx -t -q; then
    rm "/etc/nginx/sites-enabled/$slug"
    echo "nginx.sh: the site is off until nginx accepts it" >&2
    exit 1
fi
! systemctl --quiet is-active nginx || systemctl reload nginx
