# --- proxy: nginx with the static files -----------------------------------------------------------

FROM nginx:1.30 AS proxy
COPY deploy/nginx/ /etc/nginx/
COPY --from=static /app/public /srv/{{ cookiecutter.project_slug }}/public
# Any user may read it. The only folders that are written to are mounted, or the group's, which is 0.
RUN rm -f /etc/nginx/conf.d/* \
    && chmod -R a+rX /etc/nginx \
    && install --directory --group=0 --mode=775 /etc/nginx/conf.d /run /var/cache/nginx

USER 10001:0
EXPOSE 8080
STOPSIGNAL SIGQUIT
# {% include "docker/health.dockerfile" %}

