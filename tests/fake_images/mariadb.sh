#!/bin/sh
# Make the data of a new volume, and serve it; run any other command, as the official image does.
set -e
[ "$1" = mariadbd ] || exec "$@"
if [ ! -d /var/lib/mysql/mysql ]; then
    mariadb-install-db --datadir=/var/lib/mysql --auth-root-authentication-method=normal --skip-test-db > /dev/null
    cat > /tmp/first.sql <<end
CREATE DATABASE $MARIADB_DATABASE;
CREATE USER '$MARIADB_USER'@'%' IDENTIFIED BY '$MARIADB_PASSWORD';
GRANT ALL ON $MARIADB_DATABASE.* TO '$MARIADB_USER'@'%';
SET PASSWORD FOR root@$MARIADB_ROOT_HOST = PASSWORD('$MARIADB_ROOT_PASSWORD');
end
    cat /docker-entrypoint-initdb.d/*.sql >> /tmp/first.sql
    set -- "$@" --init-file=/tmp/first.sql
fi
exec "$@" --datadir=/var/lib/mysql --bind-address=0.0.0.0
