#!/bin/sh
# TLS certificates of an ACME authority, by default Let's Encrypt.
#
#   certificate.sh run        request a certificate if there is none, and renew it in time
#   certificate.sh install    copy it for the proxy, which loads it within 10 s
set -eu

request() {
    for domain in $CERTIFICATE_DOMAINS; do
        set -- "$@" --domain "$domain"
    done
    certbot certonly --non-interactive --agree-tos --email "$CERTIFICATE_EMAIL" ${ACME_DIRECTORY:+--server "$ACME_DIRECTORY"} \
        --webroot --webroot-path /var/www/acme --cert-name site --keep --expand --deploy-hook "sh $0 install" "$@"
}

case $1 in
run)
    # Authorities limit failed requests.
    request || {
        sleep 3600
        exit 1
    }
    while sleep 43200; do
        certbot renew --quiet --no-random-sleep-on-renew || true
    done
    ;;
install)
    # The proxy reads it as a member of group 0.
    install -m 640 /etc/letsencrypt/live/site/fullchain.pem /etc/letsencrypt/live/site/privkey.pem /certificates/
    touch /certificates/installed
    ;;
esac
