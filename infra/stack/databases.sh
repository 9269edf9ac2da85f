#!/bin/sh
# Make a database for each server, which its own role alone may enter; what exists stays as it is.
# Run by `make stack` at each start, and by PostgreSQL's container when it makes its data. Passwords come from the
# environment, because a command line is for everyone to read.
set -eu
make_database() {
  psql -X -q -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres <<SQL
\getenv password $2
SELECT format('CREATE ROLE $1 LOGIN PASSWORD %L', :'password')
  WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '$1') \gexec
SELECT 'CREATE DATABASE $1 OWNER $1'
  WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '$1') \gexec
REVOKE CONNECT ON DATABASE $1 FROM PUBLIC;
SQL
}
make_database mlflow MLFLOW_DATABASE_PASSWORD
make_database prefect PREFECT_DATABASE_PASSWORD
