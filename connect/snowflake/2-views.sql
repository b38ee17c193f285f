-- What analysts read: one row per event with types, and the views that answer the first questions. The same names,
-- columns and meaning as in the local warehouse (connect/postgres/2-views.sql). Safe to run again: COPY GRANTS
-- keeps who may read them. Run as the table's owner.
--
-- Times are TIMESTAMP_NTZ in UTC; hours and days are UTC's. "Today" is the UTC date: for another zone copy the view
-- and put CONVERT_TIMEZONE('UTC', 'America/Bogota', …) around MESSAGE_RECEIVE_TIME and around SYSDATE().
--
-- A value that can't be read as its type is NULL: one odd row takes no view down. The formats of times are spelt out,
-- so that nobody's TIMESTAMP_INPUT_FORMAT or TIMEZONE changes what a view says. FLATTEN stands in FROM only: Snowflake
-- refuses a subquery that flattens a column of the row around it.

USE SCHEMA STREAMAPP.MODERATION;

-- One row per source event: of several the latest MESSAGE_RECEIVE_TIME counts, then the highest offset of the
-- result. A row without a source position (the old deployment's) is an event of its own, told by the place of its
-- record, or, where it was not loaded from Kafka, by its user, time and URL. What is no row is left out, and of an
-- events topic that was deleted and created again, whose positions name two events each, the later of the two counts:
-- 3-errors.sql finds both.
-- Every query of it reads the whole table, whatever its conditions. Where that takes too long, make it a dynamic
-- table: CREATE DYNAMIC TABLE with a TARGET_LAG and a WAREHOUSE in place of CREATE VIEW, over the same SELECT, and
-- grant SELECT on it to STREAMAPP_ANALYST.
CREATE OR REPLACE VIEW MODERATION_EVENTS COPY GRANTS
    COMMENT = 'One row per source event, with types. Times are UTC.'
AS
WITH landed AS (
    SELECT
        *,
        MODEL_ATTRIBUTES:PROVENANCE AS PROVENANCE,
        PROVENANCE:source:topic::VARCHAR AS TOPIC,
        TRY_TO_NUMBER(PROVENANCE:source:partition::VARCHAR) AS TOPIC_PARTITION,
        TRY_TO_NUMBER(PROVENANCE:source:offset::VARCHAR) AS TOPIC_OFFSET,
        TOPIC IS NOT NULL AND TOPIC_PARTITION IS NOT NULL AND TOPIC_OFFSET IS NOT NULL AS HAS_SOURCE,
        RECORD_METADATA:topic::VARCHAR AS RESULT_TOPIC,
        TRY_TO_NUMBER(RECORD_METADATA:partition::VARCHAR) AS RESULT_PARTITION,
        TRY_TO_NUMBER(RECORD_METADATA:offset::VARCHAR) AS RESULT_OFFSET,
        CASE
            WHEN HAS_SOURCE THEN 'source ' || TOPIC || ' ' || TOPIC_PARTITION || ' ' || TOPIC_OFFSET
            WHEN RESULT_TOPIC IS NOT NULL AND RESULT_PARTITION IS NOT NULL AND RESULT_OFFSET IS NOT NULL
                THEN 'result ' || RESULT_TOPIC || ' ' || RESULT_PARTITION || ' ' || RESULT_OFFSET
            ELSE 'row ' || UID || ' ' || MESSAGE_RECEIVE_TIME || ' ' || COALESCE(IMAGE_URL, '')
        END AS EVENT_KEY,
        -- Python leaves the microseconds out where they are 0.
        CONVERT_TIMEZONE('UTC', COALESCE(
            TRY_TO_TIMESTAMP_TZ(MESSAGE_RECEIVE_TIME, 'YYYY-MM-DD HH24:MI:SS.FFTZH:TZM'),
            TRY_TO_TIMESTAMP_TZ(MESSAGE_RECEIVE_TIME, 'YYYY-MM-DD HH24:MI:SSTZH:TZM')
        ))::TIMESTAMP_NTZ AS RECEIVED_AT
    FROM DS_CONTENT_MODERATION_TAGGING_1ST_LAYER
    WHERE UID IS NOT NULL
        AND MESSAGE_RECEIVE_TIME IS NOT NULL
        AND IS_OBJECT(MODEL_ATTRIBUTES)
),

latest AS (
    SELECT *
    FROM landed
    QUALIFY ROW_NUMBER() OVER (
        PARTITION BY EVENT_KEY
        ORDER BY
            RECEIVED_AT DESC NULLS LAST,
            RESULT_OFFSET DESC NULLS LAST,
            RESULT_PARTITION DESC NULLS LAST,
            RESULT_TOPIC DESC NULLS LAST
    ) = 1
),

typed AS (
    SELECT
        *,
        -- With a space and a zone, in place of T, Z and no zone, which is UTC.
        REPLACE(REPLACE(EVENT_TIME, 'T', ' '), 'Z', '+00:00')
        || IFF(REGEXP_LIKE(EVENT_TIME, '.*(Z|[+-][0-9]{2}:[0-9]{2})'), '', '+00:00') AS ZONED_EVENT_TIME,
        TRY_TO_NUMBER(MODEL_ATTRIBUTES:NN_STATUS::VARCHAR) AS NN_STATUS,
        TRY_TO_BOOLEAN(MODEL_ATTRIBUTES:NN_TO_BE_MODERATED::VARCHAR) AS NN_TO_BE_MODERATED,
        TRY_TO_NUMBER(MODEL_ATTRIBUTES:MFD_STATUS::VARCHAR) AS MFD_STATUS,
        TRY_TO_BOOLEAN(MODEL_ATTRIBUTES:MFD_TO_BE_MODERATED::VARCHAR) AS MFD_TO_BE_MODERATED,
        TRY_TO_NUMBER(MODEL_ATTRIBUTES:CLIP_STATUS::VARCHAR) AS CLIP_STATUS,
        TRY_TO_BOOLEAN(MODEL_ATTRIBUTES:CLIP_TO_BE_MODERATED::VARCHAR) AS CLIP_TO_BE_MODERATED,
        -- Whether the model is why the row's TO_BE_MODERATED is true. The old deployment knew no shadow mode.
        NN_TO_BE_MODERATED AND COALESCE(PROVENANCE:models:nudenet:mode::VARCHAR, '') <> 'shadow' AS NN_ASKS,
        MFD_TO_BE_MODERATED AND COALESCE(PROVENANCE:models:mfd:mode::VARCHAR, '') <> 'shadow' AS MFD_ASKS,
        CLIP_TO_BE_MODERATED AND COALESCE(PROVENANCE:models:clip:mode::VARCHAR, '') <> 'shadow' AS CLIP_ASKS
    FROM latest
),

-- The same of the models that were added to streamapp (docs/add-a-model.md): their columns stand in PROVENANCE.
added AS (
    SELECT
        ADDED_TO,
        LISTAGG(IFF(STATUS = 0, MODEL, NULL), ', ') WITHIN GROUP (ORDER BY MODEL) AS FLAGGED,
        LISTAGG(IFF(STATUS <> 0, MODEL, NULL), ', ') WITHIN GROUP (ORDER BY MODEL) AS FAILED
    FROM (
        SELECT
            EVENT_KEY AS ADDED_TO,
            REGEXP_REPLACE(field.KEY, '_STATUS$') AS MODEL,
            TRY_TO_NUMBER(field.VALUE::VARCHAR) AS STATUS
        FROM latest,
            LATERAL FLATTEN(INPUT => IFF(IS_OBJECT(PROVENANCE:models), PROVENANCE:models, NULL)) AS entry,
            LATERAL FLATTEN(INPUT => IFF(IS_OBJECT(entry.VALUE:columns), entry.VALUE:columns, NULL)) AS field
        WHERE ENDSWITH(field.KEY, '_STATUS')
            AND COALESCE(entry.VALUE:mode::VARCHAR, '') <> 'shadow'
            AND TRY_TO_BOOLEAN(
                GET(entry.VALUE:columns, REGEXP_REPLACE(field.KEY, '_STATUS$') || '_TO_BE_MODERATED')::VARCHAR
            )
    )
    GROUP BY ADDED_TO
)

SELECT
    IFF(HAS_SOURCE, TOPIC, NULL) AS SOURCE_TOPIC,
    IFF(HAS_SOURCE, TOPIC_PARTITION, NULL) AS SOURCE_PARTITION,
    IFF(HAS_SOURCE, TOPIC_OFFSET, NULL) AS SOURCE_OFFSET,
    UID,
    USERNAME,
    IMAGE_URL,
    COUNTRY,
    CONVERT_TIMEZONE('UTC', COALESCE(
        TRY_TO_TIMESTAMP_TZ(ZONED_EVENT_TIME, 'YYYY-MM-DD HH24:MI:SSTZH:TZM'),
        TRY_TO_TIMESTAMP_TZ(ZONED_EVENT_TIME, 'YYYY-MM-DD HH24:MI:SS.FFTZH:TZM')
    ))::TIMESTAMP_NTZ AS EVENT_TIME,
    RECEIVED_AT AS MESSAGE_RECEIVE_TIME,
    TOTAL_DURATION,
    TO_BE_MODERATED,
    PREDICTED_PRIMARY_CATEGORY,
    PREDICTED_SECONDARY_CATEGORY,
    MODEL_ATTRIBUTES:PREDICTED_TOP3_PRIMARY_CATEGORY::VARCHAR AS PREDICTED_TOP3_PRIMARY_CATEGORY,
    MODEL_ATTRIBUTES:PREDICTED_TOP3_SECONDARY_CATEGORY::VARCHAR AS PREDICTED_TOP3_SECONDARY_CATEGORY,
    MODEL_VERSION,
    NN_STATUS,
    NN_TO_BE_MODERATED,
    TRY_TO_DOUBLE(MODEL_ATTRIBUTES:NN_DURATION::VARCHAR) AS NN_DURATION,
    -- The highest of the key frames'; with one digit before each point the highest text is the highest number.
    TRY_TO_DOUBLE(
        ARRAY_MAX(REGEXP_SUBSTR_ALL(MODEL_ATTRIBUTES:NN_UNSAFE_SCORES::VARCHAR, '[01][.][0-9]+'))::VARCHAR
    ) AS NN_UNSAFE_SCORE,
    MFD_STATUS,
    MFD_TO_BE_MODERATED,
    TRY_TO_DOUBLE(MODEL_ATTRIBUTES:MFD_DURATION::VARCHAR) AS MFD_DURATION,
    CLIP_STATUS,
    CLIP_TO_BE_MODERATED,
    TRY_TO_DOUBLE(MODEL_ATTRIBUTES:CLIP_DURATION::VARCHAR) AS CLIP_DURATION,
    TRY_TO_NUMBER(MODEL_ATTRIBUTES:COOP_STATUS::VARCHAR) AS COOP_STATUS,
    TRY_TO_DOUBLE(MODEL_ATTRIBUTES:COOP_DURATION::VARCHAR) AS COOP_DURATION,
    -- The models, comma-separated, that asked for a person, and those that had to because they have no verdict.
    NULLIF(SUBSTR(
        IFF(CLIP_ASKS AND CLIP_STATUS = 0, ', CLIP', '')
        || IFF(MFD_ASKS AND MFD_STATUS = 0, ', MFD', '')
        || IFF(NN_ASKS AND NN_STATUS = 0, ', NN', '')
        || COALESCE(', ' || NULLIF(FLAGGED, ''), ''),
        3
    ), '') AS FLAGGED_BY,
    NULLIF(SUBSTR(
        IFF(CLIP_ASKS AND CLIP_STATUS <> 0, ', CLIP', '')
        || IFF(MFD_ASKS AND MFD_STATUS <> 0, ', MFD', '')
        || IFF(NN_ASKS AND NN_STATUS <> 0, ', NN', '')
        || COALESCE(', ' || NULLIF(FAILED, ''), ''),
        3
    ), '') AS FAILED_CLOSED_BY,
    PROVENANCE:reason::VARCHAR AS REASON,
    PROVENANCE:reason_sentence::VARCHAR AS REASON_SENTENCE,
    TRY_TO_NUMBER(PROVENANCE:attempts::VARCHAR) AS ATTEMPTS,
    PROVENANCE:content:sha256::VARCHAR AS CONTENT_SHA256,
    PROVENANCE:content:media_type::VARCHAR AS CONTENT_MEDIA_TYPE,
    TRY_TO_NUMBER(PROVENANCE:content:bytes::VARCHAR) AS CONTENT_BYTES,
    TRY_TO_NUMBER(PROVENANCE:content:width_px::VARCHAR) AS WIDTH_PX,
    TRY_TO_NUMBER(PROVENANCE:content:height_px::VARCHAR) AS HEIGHT_PX,
    ARRAY_SIZE(PROVENANCE:frames) AS KEY_FRAMES,
    TRY_TO_BOOLEAN(PROVENANCE:frames_complete::VARCHAR) AS FRAMES_COMPLETE,
    TRY_TO_DOUBLE(PROVENANCE:stages:fetch_s::VARCHAR) AS FETCH_S,
    TRY_TO_DOUBLE(PROVENANCE:stages:decode_s::VARCHAR) AS DECODE_S,
    TRY_TO_DOUBLE(PROVENANCE:stages:queue_s::VARCHAR) AS QUEUE_S,
    PROVENANCE:policy:version::VARCHAR AS POLICY_VERSION,
    PROVENANCE:policy:sha256::VARCHAR AS POLICY_SHA256,
    PROVENANCE:streamapp::VARCHAR AS STREAMAPP_VERSION,
    PROVENANCE:backfill::VARCHAR AS BACKFILL,
    MODEL_ATTRIBUTES,
    RESULT_TOPIC,
    RESULT_PARTITION,
    RESULT_OFFSET
FROM typed
LEFT JOIN added ON EVENT_KEY = ADDED_TO;

-- What a moderator opens first: pictures received today (UTC) that a person must look at, newest first.
CREATE OR REPLACE VIEW TO_BE_MODERATED_TODAY COPY GRANTS
    COMMENT = 'Pictures received today (UTC) that a person must look at, newest first.'
AS
SELECT
    MESSAGE_RECEIVE_TIME,
    UID,
    USERNAME,
    IMAGE_URL,
    COUNTRY,
    FLAGGED_BY,
    FAILED_CLOSED_BY,
    NN_UNSAFE_SCORE,
    REASON,
    REASON_SENTENCE,
    PREDICTED_PRIMARY_CATEGORY,
    PREDICTED_SECONDARY_CATEGORY,
    SOURCE_TOPIC,
    SOURCE_PARTITION,
    SOURCE_OFFSET
FROM MODERATION_EVENTS
WHERE TO_BE_MODERATED
    AND MESSAGE_RECEIVE_TIME::DATE = SYSDATE()::DATE
ORDER BY MESSAGE_RECEIVE_TIME DESC;

-- By day, country and primary category. A picture of two categories counts in both; one without counts as
-- '(none)', and a country that is not known as '(unknown)'.
CREATE OR REPLACE VIEW EVENTS_BY_COUNTRY_AND_CATEGORY COPY GRANTS
    COMMENT = 'Events by day (UTC), country and primary category; a picture of two categories counts in both.'
AS
SELECT
    MESSAGE_RECEIVE_TIME::DATE AS DAY,
    COALESCE(NULLIF(event.COUNTRY, ''), '(unknown)') AS COUNTRY,
    COALESCE(NULLIF(category.VALUE::VARCHAR, ''), '(none)') AS CATEGORY,
    COUNT(*) AS EVENTS,
    COUNT_IF(event.TO_BE_MODERATED) AS TO_BE_MODERATED,
    COUNT_IF(event.TO_BE_MODERATED)::FLOAT / COUNT(*) AS SHARE_TO_BE_MODERATED
FROM MODERATION_EVENTS AS event,
    LATERAL FLATTEN(INPUT => SPLIT(COALESCE(PREDICTED_PRIMARY_CATEGORY, ''), ', ')) AS category
GROUP BY 1, 2, 3;

-- Pictures on which NudeNet and CLIP both have a verdict and not the same. In shadow mode, too: that is when
-- one compares.
CREATE OR REPLACE VIEW MODEL_DISAGREEMENT COPY GRANTS
    COMMENT = 'Pictures that NudeNet flags and CLIP does not, or the reverse; both have a verdict.'
AS
SELECT
    MESSAGE_RECEIVE_TIME,
    UID,
    IMAGE_URL,
    COUNTRY,
    IFF(NN_TO_BE_MODERATED, 'NN', 'CLIP') AS FLAGGED_BY_ONLY,
    NN_UNSAFE_SCORE,
    PREDICTED_PRIMARY_CATEGORY,
    PREDICTED_SECONDARY_CATEGORY,
    PREDICTED_TOP3_PRIMARY_CATEGORY,
    TO_BE_MODERATED,
    POLICY_VERSION,
    SOURCE_TOPIC,
    SOURCE_PARTITION,
    SOURCE_OFFSET
FROM MODERATION_EVENTS
WHERE NN_STATUS = 0
    AND CLIP_STATUS = 0
    AND NN_TO_BE_MODERATED <> CLIP_TO_BE_MODERATED;

-- Events per hour, model and STATUS, with the share of that model's events of the hour. −1: switched off.
CREATE OR REPLACE VIEW STATUS_COUNTS_PER_HOUR COPY GRANTS
    COMMENT = 'Events per hour (UTC), model and STATUS, with its share of the events of that model and hour.'
AS
WITH verdicts AS (
    SELECT
        MESSAGE_RECEIVE_TIME,
        MODEL,
        DECODE(MODEL, 'NN', NN_STATUS, 'MFD', MFD_STATUS, 'CLIP', CLIP_STATUS, 'COOP', COOP_STATUS) AS STATUS
    FROM MODERATION_EVENTS
    CROSS JOIN (VALUES ('NN'), ('MFD'), ('CLIP'), ('COOP')) AS built_in (MODEL)
    UNION ALL
    SELECT
        MESSAGE_RECEIVE_TIME,
        REGEXP_REPLACE(field.KEY, '_STATUS$'),
        TRY_TO_NUMBER(field.VALUE::VARCHAR)
    FROM MODERATION_EVENTS,
        LATERAL FLATTEN(INPUT => IFF(
            IS_OBJECT(MODEL_ATTRIBUTES:PROVENANCE:models), MODEL_ATTRIBUTES:PROVENANCE:models, NULL
        )) AS entry,
        LATERAL FLATTEN(INPUT => IFF(IS_OBJECT(entry.VALUE:columns), entry.VALUE:columns, NULL)) AS field
    WHERE ENDSWITH(field.KEY, '_STATUS')
)

SELECT
    DATE_TRUNC('HOUR', MESSAGE_RECEIVE_TIME) AS HOUR,
    MODEL,
    STATUS,
    COUNT(*) AS EVENTS,
    COUNT(*)::FLOAT / SUM(COUNT(*)) OVER (PARTITION BY DATE_TRUNC('HOUR', MESSAGE_RECEIVE_TIME), MODEL) AS SHARE
FROM verdicts
GROUP BY DATE_TRUNC('HOUR', MESSAGE_RECEIVE_TIME), MODEL, STATUS;

-- Source events with several rows: repeats after a crash, and backfills. All but the last are hidden by
-- MODERATION_EVENTS.
CREATE OR REPLACE VIEW DUPLICATE_ROWS COPY GRANTS
    COMMENT = 'Source events with several rows: repeats after a crash, and backfills.'
AS
SELECT
    SOURCE_TOPIC,
    SOURCE_PARTITION,
    SOURCE_OFFSET,
    COUNT(*) AS ROW_COUNT,
    MIN(RECEIVED_AT) AS FIRST_MESSAGE_RECEIVE_TIME,
    MAX(RECEIVED_AT) AS LAST_MESSAGE_RECEIVE_TIME,
    COUNT(BACKFILL) AS BACKFILL_ROWS,
    COUNT(DISTINCT TO_BE_MODERATED) = 1 AS HAS_SAME_VERDICT
FROM (
    SELECT
        MODEL_ATTRIBUTES:PROVENANCE:source:topic::VARCHAR AS SOURCE_TOPIC,
        TRY_TO_NUMBER(MODEL_ATTRIBUTES:PROVENANCE:source:partition::VARCHAR) AS SOURCE_PARTITION,
        TRY_TO_NUMBER(MODEL_ATTRIBUTES:PROVENANCE:source:offset::VARCHAR) AS SOURCE_OFFSET,
        CONVERT_TIMEZONE('UTC', COALESCE(
            TRY_TO_TIMESTAMP_TZ(MESSAGE_RECEIVE_TIME, 'YYYY-MM-DD HH24:MI:SS.FFTZH:TZM'),
            TRY_TO_TIMESTAMP_TZ(MESSAGE_RECEIVE_TIME, 'YYYY-MM-DD HH24:MI:SSTZH:TZM')
        ))::TIMESTAMP_NTZ AS RECEIVED_AT,
        MODEL_ATTRIBUTES:PROVENANCE:backfill::VARCHAR AS BACKFILL,
        TO_BE_MODERATED
    FROM DS_CONTENT_MODERATION_TAGGING_1ST_LAYER
    WHERE UID IS NOT NULL
        AND MESSAGE_RECEIVE_TIME IS NOT NULL
        AND IS_OBJECT(MODEL_ATTRIBUTES)
)
WHERE SOURCE_TOPIC IS NOT NULL AND SOURCE_PARTITION IS NOT NULL AND SOURCE_OFFSET IS NOT NULL
GROUP BY SOURCE_TOPIC, SOURCE_PARTITION, SOURCE_OFFSET
HAVING COUNT(*) > 1;

-- Seconds per hour: TOTAL_DURATION (received → row), and from the event's own time to its row, which has the
-- wait in Kafka, too. Backfilled rows are left out: their events were old.
CREATE OR REPLACE VIEW LATENCY_PERCENTILES COPY GRANTS
    COMMENT = 'Seconds from receiving an event, and from the event itself, to its row; per hour (UTC).'
AS
SELECT
    HOUR,
    COUNT(*) AS EVENTS,
    PERCENTILE_CONT(0.50) WITHIN GROUP (ORDER BY TOTAL_DURATION) AS TOTAL_DURATION_P50,
    PERCENTILE_CONT(0.95) WITHIN GROUP (ORDER BY TOTAL_DURATION) AS TOTAL_DURATION_P95,
    PERCENTILE_CONT(0.99) WITHIN GROUP (ORDER BY TOTAL_DURATION) AS TOTAL_DURATION_P99,
    PERCENTILE_CONT(0.50) WITHIN GROUP (ORDER BY EVENT_TO_ROW_S) AS EVENT_TO_ROW_P50,
    PERCENTILE_CONT(0.95) WITHIN GROUP (ORDER BY EVENT_TO_ROW_S) AS EVENT_TO_ROW_P95,
    PERCENTILE_CONT(0.99) WITHIN GROUP (ORDER BY EVENT_TO_ROW_S) AS EVENT_TO_ROW_P99
FROM (
    SELECT
        DATE_TRUNC('HOUR', MESSAGE_RECEIVE_TIME) AS HOUR,
        TOTAL_DURATION,
        DATEDIFF('MICROSECOND', EVENT_TIME, MESSAGE_RECEIVE_TIME) / 1e6 + TOTAL_DURATION AS EVENT_TO_ROW_S
    FROM MODERATION_EVENTS
    WHERE BACKFILL IS NULL
)
GROUP BY HOUR;
