# --- proxy: Apache with the static files ----------------------------------------------------------

FROM httpd:2.4 AS proxy
COPY deploy/apache/ /usr/local/apache2/conf/
COPY --from=static /app/public /srv/{{ cookiecutter.project_slug }}/public
# Any user may read it.
RUN chmod -R a+rX /usr/local/apache2/conf

USER 10001:0
EXPOSE 8080
STOPSIGNAL SIGWINCH
# {% include "docker/health.dockerfile" %}

