-- What was refused, what is missing and what is odd: queries to run by hand, each with what to do about its rows.
-- None of them should return any. Run them as the table's owner (SYSADMIN): analysts may not read it.
--
-- Where a record goes that does not fit depends on snowflake.validation (connect/snowflake.json has client_side):
--   client_side: to the topic <results topic>.snowflake-errors, unchanged, with why in its headers: Console shows
--     them, or: rpk topic consume content_moderation_profile-results_dev.snowflake-errors
--     __connect.errors.topic, .partition and .offset say which record it was, .exception.message why.
--   server_side: to the table's error table, which only the owner or a role with SELECT ERROR TABLE on it may read:
--     SELECT
--         TIMESTAMP,
--         ERROR_CODE,
--         ERROR_METADATA:error_message::VARCHAR AS MESSAGE,
--         ERROR_METADATA:error_source::VARCHAR AS COLUMN_NAME,
--         ERROR_METADATA:details:channel_name::VARCHAR AS CHANNEL,
--         ERROR_DATA:"$1"::VARCHAR AS VALUE
--     FROM ERROR_TABLE(DS_CONTENT_MODERATION_TAGGING_1ST_LAYER)
--     WHERE ERROR_METADATA:service = 'snowpipe_streaming'
--     ORDER BY TIMESTAMP DESC;

USE SCHEMA STREAMAPP.MODERATION;
USE WAREHOUSE STREAMAPP_ANALYSTS;

-- 1. Records of the results topic that are not here: gaps in their offsets. Those of the last seconds may be on their
--    way. Of the others: look for them in the error topic or the error table, mend the cause, and send them again.
--    What is missing before the first offset or after the last one does not show: the topic itself has those offsets.
SELECT
    TOPIC,
    PARTITION_NUMBER,
    PREVIOUS_OFFSET + 1 AS FIRST_MISSING_OFFSET,
    OFFSET_NUMBER - 1 AS LAST_MISSING_OFFSET,
    OFFSET_NUMBER - PREVIOUS_OFFSET - 1 AS MISSING_RECORDS
FROM (
    SELECT
        RECORD_METADATA:topic::VARCHAR AS TOPIC,
        TRY_TO_NUMBER(RECORD_METADATA:partition::VARCHAR) AS PARTITION_NUMBER,
        TRY_TO_NUMBER(RECORD_METADATA:offset::VARCHAR) AS OFFSET_NUMBER,
        LAG(OFFSET_NUMBER) OVER (PARTITION BY TOPIC, PARTITION_NUMBER ORDER BY OFFSET_NUMBER) AS PREVIOUS_OFFSET
    FROM DS_CONTENT_MODERATION_TAGGING_1ST_LAYER
    WHERE OFFSET_NUMBER IS NOT NULL
)
WHERE OFFSET_NUMBER > PREVIOUS_OFFSET + 1
ORDER BY TOPIC, PARTITION_NUMBER, FIRST_MISSING_OFFSET;

-- 2. Records that landed twice: the connector was renamed or the table's channels were dropped. MODERATION_EVENTS
--    keeps one of each.
SELECT
    RECORD_METADATA:topic::VARCHAR AS TOPIC,
    TRY_TO_NUMBER(RECORD_METADATA:partition::VARCHAR) AS PARTITION_NUMBER,
    TRY_TO_NUMBER(RECORD_METADATA:offset::VARCHAR) AS OFFSET_NUMBER,
    COUNT(*) AS ROW_COUNT
FROM DS_CONTENT_MODERATION_TAGGING_1ST_LAYER
WHERE OFFSET_NUMBER IS NOT NULL
GROUP BY TOPIC, PARTITION_NUMBER, OFFSET_NUMBER
HAVING COUNT(*) > 1
ORDER BY TOPIC, PARTITION_NUMBER, OFFSET_NUMBER;

-- 3. Rows that are none, or whose values can't be read: something else writes to the topic, or a worker has a bug.
--    Those of the first three kinds are not in MODERATION_EVENTS.
SELECT
    CASE
        WHEN UID IS NULL THEN 'no UID'
        WHEN MESSAGE_RECEIVE_TIME IS NULL THEN 'no MESSAGE_RECEIVE_TIME'
        WHEN NOT COALESCE(IS_OBJECT(MODEL_ATTRIBUTES), FALSE) THEN 'no MODEL_ATTRIBUTES object'
        WHEN TO_BE_MODERATED IS NULL THEN 'no TO_BE_MODERATED'
        WHEN COALESCE(
            TRY_TO_TIMESTAMP_TZ(MESSAGE_RECEIVE_TIME, 'YYYY-MM-DD HH24:MI:SS.FFTZH:TZM'),
            TRY_TO_TIMESTAMP_TZ(MESSAGE_RECEIVE_TIME, 'YYYY-MM-DD HH24:MI:SSTZH:TZM')
        ) IS NULL THEN 'MESSAGE_RECEIVE_TIME is no time'
        WHEN MODEL_ATTRIBUTES:PROVENANCE IS NOT NULL
            AND TRY_TO_NUMBER(MODEL_ATTRIBUTES:PROVENANCE:source:offset::VARCHAR) IS NULL THEN 'no source position'
    END AS PROBLEM,
    UID,
    MESSAGE_RECEIVE_TIME,
    RECORD_METADATA:topic::VARCHAR AS TOPIC,
    TRY_TO_NUMBER(RECORD_METADATA:partition::VARCHAR) AS PARTITION_NUMBER,
    TRY_TO_NUMBER(RECORD_METADATA:offset::VARCHAR) AS OFFSET_NUMBER,
    MODEL_ATTRIBUTES
FROM DS_CONTENT_MODERATION_TAGGING_1ST_LAYER
WHERE PROBLEM IS NOT NULL
ORDER BY TOPIC, PARTITION_NUMBER, OFFSET_NUMBER;

-- 4. Keys that MODEL_ATTRIBUTES lacks, and since when. Rows of the old deployment have all of these; PROVENANCE, which
--    they lack, is not asked for.
SELECT
    wanted.NAME AS MISSING_KEY,
    COUNT(*) AS ROW_COUNT,
    MIN(MESSAGE_RECEIVE_TIME) AS FIRST_MESSAGE_RECEIVE_TIME,
    MAX(MESSAGE_RECEIVE_TIME) AS LAST_MESSAGE_RECEIVE_TIME,
    COUNT(DISTINCT MODEL_ATTRIBUTES:PROVENANCE:streamapp::VARCHAR) AS VERSIONS
FROM DS_CONTENT_MODERATION_TAGGING_1ST_LAYER
CROSS JOIN (
    VALUES
        ('NN_DURATION'), ('NN_SAFE_SCORES'), ('NN_UNSAFE_SCORES'), ('NN_TO_BE_MODERATED'),
        ('NN_PREDICTION_SUCCESS'), ('NN_STATUS'),
        ('CLIP_DURATION'), ('CLIP_PREDICTION_SUCCESS'), ('CLIP_TO_BE_MODERATED'), ('CLIP_STATUS'),
        ('COOP_DURATION'), ('COOP_PREDICTION_SUCCESS'), ('COOP_STATUS'),
        ('PREDICTED_TOP3_PRIMARY_CATEGORY'), ('PREDICTED_TOP3_SECONDARY_CATEGORY'),
        ('MFD_DURATION'), ('MFD_TO_BE_MODERATED'), ('MFD_PREDICTION_SUCCESS'), ('MFD_STATUS'),
        ('USER_ID')
) AS wanted (NAME)
WHERE IS_OBJECT(MODEL_ATTRIBUTES)
    AND (GET(MODEL_ATTRIBUTES, wanted.NAME)) IS NULL
GROUP BY wanted.NAME
ORDER BY ROW_COUNT DESC, MISSING_KEY;

-- 5. Source positions with rows of several users: the events topic was deleted and created again, and its offsets began
--    anew. MODERATION_EVENTS has the later event of each alone; the rows of both are in the table. Give a new topic a
--    new name.
SELECT
    MODEL_ATTRIBUTES:PROVENANCE:source:topic::VARCHAR AS TOPIC,
    TRY_TO_NUMBER(MODEL_ATTRIBUTES:PROVENANCE:source:partition::VARCHAR) AS PARTITION_NUMBER,
    TRY_TO_NUMBER(MODEL_ATTRIBUTES:PROVENANCE:source:offset::VARCHAR) AS OFFSET_NUMBER,
    COUNT(DISTINCT UID) AS USERS,
    MIN(MESSAGE_RECEIVE_TIME) AS FIRST_MESSAGE_RECEIVE_TIME,
    MAX(MESSAGE_RECEIVE_TIME) AS LAST_MESSAGE_RECEIVE_TIME
FROM DS_CONTENT_MODERATION_TAGGING_1ST_LAYER
WHERE OFFSET_NUMBER IS NOT NULL
GROUP BY TOPIC, PARTITION_NUMBER, OFFSET_NUMBER
HAVING COUNT(DISTINCT UID) > 1
ORDER BY TOPIC, PARTITION_NUMBER, OFFSET_NUMBER;
