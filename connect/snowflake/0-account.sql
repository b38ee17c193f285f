-- Database, warehouse, roles, users and grants: everything that the connector and the analysts need, and no more.
-- Run it once by hand as someone who may be ACCOUNTADMIN; safe to run again. Before that, put the public key in the
-- place of <PUBLIC_KEY> (connect/README.md makes the pair). Then run 1-table.sql and 2-views.sql as SYSADMIN.
--
-- Not run by any test: the statements here are parsed only. The grants are those that Snowflake's pages name for its
-- Kafka connector v4 on a table that exists.

-- SYSADMIN owns what holds data, so that objects are mended without ACCOUNTADMIN.
USE ROLE SYSADMIN;

-- A database of its own: its grants say nothing about other data.
CREATE DATABASE IF NOT EXISTS STREAMAPP COMMENT = 'Moderation of profile pictures';

-- Nothing but streamapp's table and views may be put here: the grants below hold for all that is in it.
-- MANAGED ACCESS: only the schema's owner grants, so that no owner of a view opens it to others.
CREATE SCHEMA IF NOT EXISTS STREAMAPP.MODERATION WITH MANAGED ACCESS;

-- For the analysts' queries alone: Snowpipe Streaming is serverless and uses no warehouse.
-- The smallest size; it sleeps after a minute without a query, and a query that runs away ends after 10 minutes.
CREATE WAREHOUSE IF NOT EXISTS STREAMAPP_ANALYSTS
    WAREHOUSE_SIZE = XSMALL
    AUTO_SUSPEND = 60
    AUTO_RESUME = TRUE
    INITIALLY_SUSPENDED = TRUE
    STATEMENT_TIMEOUT_IN_SECONDS = 600;

-- USERADMIN makes users and roles, and can't read data.
USE ROLE USERADMIN;

-- The connector's role (SNOWFLAKE_ROLE). The connector takes no privilege from roles above or below it.
CREATE ROLE IF NOT EXISTS STREAMAPP_LOADER COMMENT = 'Kafka Connect: writes rows, reads nothing';

-- Who reads the views.
CREATE ROLE IF NOT EXISTS STREAMAPP_ANALYST COMMENT = 'Reads the views of STREAMAPP.MODERATION';

-- The connector's user (SNOWFLAKE_USER). TYPE = SERVICE: no password and no interactive login, the key pair alone.
CREATE USER IF NOT EXISTS STREAMAPP_CONNECT
    TYPE = SERVICE
    DEFAULT_ROLE = STREAMAPP_LOADER
    COMMENT = 'Kafka Connect';

-- Apart from CREATE, so that running this file again changes the key. The public key's base64 on one line, without
-- BEGIN and END. To change it without a pause: the new one as RSA_PUBLIC_KEY_2 first.
ALTER USER STREAMAPP_CONNECT SET RSA_PUBLIC_KEY = '<PUBLIC_KEY>';

-- A role works only for who has it.
GRANT ROLE STREAMAPP_LOADER TO USER STREAMAPP_CONNECT;

-- Custom roles belong under SYSADMIN, or nobody can administer what they own.
GRANT ROLE STREAMAPP_LOADER TO ROLE SYSADMIN;
GRANT ROLE STREAMAPP_ANALYST TO ROLE SYSADMIN;

-- SECURITYADMIN may grant on anything (MANAGE GRANTS), also on what is in a managed schema.
USE ROLE SECURITYADMIN;

-- The connector finds its database and schema.
GRANT USAGE ON DATABASE STREAMAPP TO ROLE STREAMAPP_LOADER;
GRANT USAGE ON SCHEMA STREAMAPP.MODERATION TO ROLE STREAMAPP_LOADER;

-- It writes rows: INSERT on the table, which it also describes by that. Neither SELECT nor CREATE TABLE (the table is
-- there) nor OPERATE on a pipe (Snowflake's default pipe needs none) nor EVOLVE SCHEMA (the columns stay as they are).
-- FUTURE: 1-table.sql is yet to come; ALL: a table that was there before.
GRANT INSERT ON FUTURE TABLES IN SCHEMA STREAMAPP.MODERATION TO ROLE STREAMAPP_LOADER;
GRANT INSERT ON ALL TABLES IN SCHEMA STREAMAPP.MODERATION TO ROLE STREAMAPP_LOADER;

-- Analysts find the schema, run queries, and read views; the landing table, with its repeats, they don't.
GRANT USAGE ON DATABASE STREAMAPP TO ROLE STREAMAPP_ANALYST;
GRANT USAGE ON SCHEMA STREAMAPP.MODERATION TO ROLE STREAMAPP_ANALYST;
GRANT USAGE ON WAREHOUSE STREAMAPP_ANALYSTS TO ROLE STREAMAPP_ANALYST;
GRANT SELECT ON FUTURE VIEWS IN SCHEMA STREAMAPP.MODERATION TO ROLE STREAMAPP_ANALYST;
GRANT SELECT ON ALL VIEWS IN SCHEMA STREAMAPP.MODERATION TO ROLE STREAMAPP_ANALYST;

-- The old deployment's table, where it was put into this schema: what the connector and 3-errors.sql expect of it. Its
-- columns must have 1-table.sql's types, times as VARCHAR above all: of a TIMESTAMP the connector refuses every row.
USE ROLE SYSADMIN;
ALTER TABLE IF EXISTS STREAMAPP.MODERATION.DS_CONTENT_MODERATION_TAGGING_1ST_LAYER ADD COLUMN IF NOT EXISTS RECORD_METADATA VARIANT;
ALTER TABLE IF EXISTS STREAMAPP.MODERATION.DS_CONTENT_MODERATION_TAGGING_1ST_LAYER SET ERROR_LOGGING = TRUE;

-- Not run, each for who wants it:
--   Who analyses:
--     GRANT ROLE STREAMAPP_ANALYST TO USER <NAME>;
--   Who runs 3-errors.sql without being SYSADMIN, with snowflake.validation=server_side:
--     GRANT SELECT ERROR TABLE ON TABLE STREAMAPP.MODERATION.DS_CONTENT_MODERATION_TAGGING_1ST_LAYER TO ROLE <NAME>;
--   The connector from known addresses only:
--     CREATE NETWORK POLICY STREAMAPP_CONNECT ALLOWED_IP_LIST = ('203.0.113.0/24');
--     ALTER USER STREAMAPP_CONNECT SET NETWORK_POLICY = STREAMAPP_CONNECT;
--   An end to what the analysts' warehouse may cost in a month, in credits (ACCOUNTADMIN):
--     CREATE RESOURCE MONITOR STREAMAPP_ANALYSTS WITH CREDIT_QUOTA = 30
--         TRIGGERS ON 80 PERCENT DO NOTIFY ON 100 PERCENT DO SUSPEND;
--     ALTER WAREHOUSE STREAMAPP_ANALYSTS SET RESOURCE_MONITOR = STREAMAPP_ANALYSTS;
--   A connector that says that it lacks privileges on the schema when it opens its channels (an older page of Snowflake's
--   has this one for the default pipe):
--     GRANT CREATE PIPE ON SCHEMA STREAMAPP.MODERATION TO ROLE STREAMAPP_LOADER;
