#!/bin/sh
# Runs once, when MySQL makes its data: the users of the stack, each with the rights that it needs and no more.
#
# `cachefront` owns its database and reads the log; `debezium` is the connector's, which reads everything and writes its
# heartbeat. Passwords come from .env; they stand in URLs too, so they hold letters, digits and - . _ ~ only.
set -e
MYSQL_PWD="$MYSQL_ROOT_PASSWORD" mysql --user=root <<SQL
CREATE DATABASE IF NOT EXISTS cachefront;
CREATE USER 'cachefront'@'%' IDENTIFIED BY '${STACK_MYSQL_PASSWORD:?}';
GRANT ALL ON cachefront.* TO 'cachefront'@'%';
GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO 'cachefront'@'%';
CREATE USER 'debezium'@'%' IDENTIFIED BY '${STACK_DEBEZIUM_PASSWORD:?}';
GRANT SELECT, RELOAD, SHOW DATABASES, REPLICATION SLAVE, REPLICATION CLIENT, LOCK TABLES ON *.* TO 'debezium'@'%';
GRANT INSERT, UPDATE ON cachefront.* TO 'debezium'@'%';
SQL
