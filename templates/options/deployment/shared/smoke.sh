# Request what a release must respond to, for up to a minute.
smoke() {
    domain=$(sed -n 's/^DomainName=//p' "$parameters")
    for path in /health/ready \
        # {% if cookiecutter.web_pages %}
        / \
        # {% endif %}
        # {% if cookiecutter.__catalog %}
        /api/v1/products \
        # {% endif %}
        /docs/openapi.json; do
        curl --fail --silent --show-error --output /dev/null --max-time 15 --retry 6 --retry-delay 10 --retry-all-errors \
            "https://$domain$path" || return 1
        echo "ok: https://$domain$path"
    done
}

