-- The landing table: one row for each record of the results topic, as Snowflake's Kafka connector writes it.
-- Safe to run again. Run as the role that owns the schema: SYSADMIN after 0-account.sql.

USE SCHEMA STREAMAPP.MODERATION;

-- Exactly the row's 12 keys, in their order, and RECORD_METADATA, which the connector fills by itself.
--   - No column is NOT NULL: the connector takes a table only if it may leave columns out.
--   - Times are VARCHAR, as they are in the row: the connector's client-side validation refuses
--     '2022-06-21 02:18:04.776753+00:00' for a TIMESTAMP. MODERATION_EVENTS has them as moments.
--   - ERROR_LOGGING: with snowflake.validation=server_side a row that does not fit goes to the table's error
--     table, and without one it is dropped in silence. With client_side, which connect/snowflake.json has, it
--     goes to the dead-letter topic, and the error table stays empty. See 3-errors.sql. By the way it lets an INSERT
--     by hand end well although rows of it do not fit: they are in the error table, too.
--   - No schema evolution: a key that is no column is an error to be looked at. New keys go into MODEL_ATTRIBUTES.
CREATE TABLE IF NOT EXISTS DS_CONTENT_MODERATION_TAGGING_1ST_LAYER (
    UID VARCHAR COMMENT 'The user whose picture it is.',
    USERNAME VARCHAR COMMENT 'The user''s name at the time of the event.',
    IMAGE_URL VARCHAR COMMENT 'The picture, as the event names it.',
    COUNTRY VARCHAR COMMENT 'Country of the event, as the event has it.',
    EVENT_TIME VARCHAR COMMENT 'Time of the event, as its producer wrote it; UTC where it names no zone.',
    MESSAGE_RECEIVE_TIME VARCHAR COMMENT 'UTC time at which the worker received the event.',
    TOTAL_DURATION FLOAT COMMENT 'Seconds from there to the row.',
    MODEL_ATTRIBUTES VARIANT COMMENT 'What each model said, and PROVENANCE: source position, content, models, policy, reason.',
    PREDICTED_PRIMARY_CATEGORY VARCHAR COMMENT 'Categories, comma-separated, best first.',
    PREDICTED_SECONDARY_CATEGORY VARCHAR COMMENT 'Finer categories, comma-separated, best first.',
    MODEL_VERSION VARCHAR COMMENT 'STREAMAPP_MODEL_VERSION of the worker.',
    TO_BE_MODERATED BOOLEAN COMMENT 'A person must look: a model says so, or could not say.',
    RECORD_METADATA VARIANT COMMENT 'Where the row''s record stands in Kafka: topic, partition, offset, and more.'
)
    ERROR_LOGGING = TRUE
    COMMENT = 'Rows of streamapp as they land, repeats among them. Read the view MODERATION_EVENTS instead.';

-- No clustering key yet. Rows land nearly in the order of MESSAGE_RECEIVE_TIME, so that a condition on it skips most
-- of the table as it is, and Snowflake's advice is to leave that alone below a terabyte. Large backfills mix old days
-- with new ones; when SYSTEM$CLUSTERING_INFORMATION('DS_CONTENT_MODERATION_TAGGING_1ST_LAYER',
-- '(LEFT(MESSAGE_RECEIVE_TIME, 10))') shows a depth that grows:
--   ALTER TABLE DS_CONTENT_MODERATION_TAGGING_1ST_LAYER CLUSTER BY (LEFT(MESSAGE_RECEIVE_TIME, 10));
-- It speeds up queries of this table alone: MODERATION_EVENTS reads all of it anyway.
