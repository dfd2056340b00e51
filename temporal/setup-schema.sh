#!/bin/sh
# Creates the tables of Temporal's two stores, or brings them up to date. Their databases come from roles.sql.
# temporal-sql-tool reads the address and the role from SQL_PLUGIN, SQL_HOST, SQL_PORT, SQL_USER and SQL_PASSWORD.
set -eu

: "${SQL_PLUGIN:?is not set: the name of the database plugin, such as postgres12}"
: "${SQL_HOST:?is not set: the host of PostgreSQL}"
: "${SQL_PORT:?is not set: the port of PostgreSQL, such as 5432}"
: "${SQL_USER:?is not set: the role that owns the databases temporal and temporal_visibility}"
: "${SQL_PASSWORD:?is not set: docker-compose takes it from TEMPORAL_POSTGRES_PASSWORD in .env}"

schemas=${TEMPORAL_SCHEMAS:-/etc/temporal/schema/postgresql/v12}

setup_store() {
    database=$1 versions=$schemas/$2/versioned
    echo "Setting up the schema of the database $database"
    temporal-sql-tool --db "$database" setup-schema -v 0.0
    temporal-sql-tool --db "$database" update-schema -d "$versions"
}

setup_store temporal temporal
setup_store temporal_visibility visibility
echo "The schemas are up to date"
