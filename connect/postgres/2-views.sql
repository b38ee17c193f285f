-- The views of the local warehouse, over the landing table of 1-landing.sql. The same names, columns and
-- meaning as in Snowflake (connect/snowflake/2-views.sql). Safe to run again.
-- An hour is written as landing_hours and landing_days have it (1-landing.sql), or PostgreSQL does not know it for one.
-- All times are UTC moments (timestamptz); hours and days are UTC's. "Today" is the UTC date: an analyst in
-- another zone copies the view and puts its zone in place of 'UTC'.

begin;

-- Whoever reads or loads waits behind this script while it waits: it rather ends, and is run again.
set local lock_timeout = '30s';

-- The table as Snowflake has it: the row's 12 keys and where its record stands.
create or replace view ds_content_moderation_tagging_1st_layer as
select
    uid,
    username,
    image_url,
    country,
    row_doc ->> 'EVENT_TIME' as event_time,
    row_doc ->> 'MESSAGE_RECEIVE_TIME' as message_receive_time,
    total_duration_s as total_duration,
    row_doc -> 'MODEL_ATTRIBUTES' as model_attributes,
    predicted_primary_category,
    predicted_secondary_category,
    model_version,
    to_be_moderated,
    jsonb_build_object(
        'topic', __connect_topic,
        'partition', __connect_partition,
        'offset', __connect_offset,
        'loaded_at', loaded_at
    ) as record_metadata
from landing
where row_doc is not null;

-- What landed and is no row, with the reason.
create or replace view not_rows as
select
    __connect_topic as result_topic,
    __connect_partition as result_partition,
    __connect_offset as result_offset,
    loaded_at,
    case when doc is null then 'tombstone: no value' else why_not_row(try_jsonb(doc)) end as problem,
    octet_length(doc) as doc_bytes,
    -- Bytes that are no UTF-8 are shown escaped.
    encode(substring(doc from 1 for 200), 'escape') as doc_start
from landing
where row_doc is null;

-- Of each source event's rows the one that counts: of several that with the latest MESSAGE_RECEIVE_TIME, then the
-- highest offset. A row without a source position (the old deployment's) is an event of its own.
-- An anti-join and no DISTINCT ON: a condition on the time, the user or the position reaches the indexes.
create or replace view landing_latest as
select *
from landing as this
where row_doc is not null
    and not exists (
        select from landing as other
        where other.source_topic = this.source_topic
            and other.source_partition = this.source_partition
            and other.source_offset = this.source_offset
            and (coalesce(other.received_at, '-infinity'), other.__connect_offset, other.__connect_partition, other.__connect_topic)
            > (coalesce(this.received_at, '-infinity'), this.__connect_offset, this.__connect_partition, this.__connect_topic)
    );

-- One row per source event, with types.
create or replace view moderation_events as
select
    source_topic,
    source_partition,
    source_offset,
    uid,
    username,
    image_url,
    country,
    event_at as event_time,
    received_at as message_receive_time,
    total_duration_s as total_duration,
    to_be_moderated,
    predicted_primary_category,
    predicted_secondary_category,
    predicted_top3_primary_category,
    predicted_top3_secondary_category,
    model_version,
    nn_status,
    nn_to_be_moderated,
    nn_duration,
    nn_unsafe_score,
    mfd_status,
    mfd_to_be_moderated,
    mfd_duration,
    clip_status,
    clip_to_be_moderated,
    clip_duration,
    coop_status,
    coop_duration,
    flagged_by,
    failed_closed_by,
    reason,
    reason_sentence,
    attempts,
    content_sha256,
    content_media_type,
    content_bytes,
    width_px,
    height_px,
    key_frames,
    frames_complete,
    fetch_s,
    decode_s,
    queue_s,
    policy_version,
    policy_sha256,
    streamapp_version,
    backfill,
    row_doc -> 'MODEL_ATTRIBUTES' as model_attributes,
    __connect_topic as result_topic,
    __connect_partition as result_partition,
    __connect_offset as result_offset
from landing_latest;

-- What a moderator opens first: pictures received today (UTC) that a person must look at, newest first.
create or replace view to_be_moderated_today as
select
    message_receive_time,
    uid,
    username,
    image_url,
    country,
    flagged_by,
    failed_closed_by,
    nn_unsafe_score,
    reason,
    reason_sentence,
    predicted_primary_category,
    predicted_secondary_category,
    source_topic,
    source_partition,
    source_offset
from moderation_events
where to_be_moderated
    and message_receive_time >= date_trunc('day', now(), 'UTC')
    and message_receive_time < date_trunc('day', now(), 'UTC') + interval '1 day'
order by message_receive_time desc;

-- By day, country and primary category. A picture of two categories counts in both; one without counts as
-- '(none)', and a country that is not known as '(unknown)'.
create or replace view events_by_country_and_category as
select
    (message_receive_time at time zone 'UTC')::date as day,
    coalesce(nullif(country, ''), '(unknown)') as country,
    coalesce(nullif(category, ''), '(none)') as category,
    count(*) as events,
    count(*) filter (where to_be_moderated) as to_be_moderated,
    count(*) filter (where to_be_moderated)::double precision / count(*) as share_to_be_moderated
from moderation_events,
    -- An array, which PostgreSQL takes for short; it would take a text for 1000 categories, and compile the query.
    unnest(regexp_split_to_array(coalesce(predicted_primary_category, ''), ', *')) as category
group by 1, 2, 3;

-- Pictures on which NudeNet and CLIP both have a verdict and not the same. In shadow mode, too: that is when
-- one compares.
create or replace view model_disagreement as
select
    message_receive_time,
    uid,
    image_url,
    country,
    case when nn_to_be_moderated then 'NN' else 'CLIP' end as flagged_by_only,
    nn_unsafe_score,
    predicted_primary_category,
    predicted_secondary_category,
    predicted_top3_primary_category,
    to_be_moderated,
    policy_version,
    source_topic,
    source_partition,
    source_offset
from moderation_events
where nn_status = 0
    and clip_status = 0
    and nn_to_be_moderated <> clip_to_be_moderated;

-- Events per hour, model and STATUS, with the share of that model's events of the hour. −1: switched off.
-- Events of one hour that have the same STATUSes are counted before those are taken apart.
create or replace view status_counts_per_hour as
with counted as (
    select
        date_trunc('hour', received_at at time zone 'UTC') at time zone 'UTC' as hour,
        model_statuses,
        count(*) as events
    from landing_latest
    group by 1, 2
),

verdicts as (
    select
        hour,
        model_status ->> 0 as model,
        (model_status ->> 1)::int as status,
        events
    from counted, jsonb_array_elements(model_statuses) as model_status
)

select
    hour,
    model,
    status,
    sum(events)::bigint as events,
    sum(events)::double precision / sum(sum(events)::double precision) over (partition by hour, model) as share
from verdicts
group by 1, 2, 3;

-- Source events with several rows: repeats after a crash, and backfills. All but the last are hidden by
-- moderation_events.
create or replace view duplicate_rows as
select
    source_topic,
    source_partition,
    source_offset,
    row_count,
    first_message_receive_time,
    last_message_receive_time,
    details.backfill_rows,
    details.has_same_verdict
from (
    select
        source_topic,
        source_partition,
        source_offset,
        count(*) as row_count,
        min(received_at) as first_message_receive_time,
        max(received_at) as last_message_receive_time
    from landing
    where source_topic is not null
    group by 1, 2, 3
    having count(*) > 1
) as repeated
cross join lateral (
    select
        count(one.backfill) as backfill_rows,
        count(distinct to_be_moderated) = 1 as has_same_verdict
    from landing as one
    where one.source_topic = repeated.source_topic
        and one.source_partition = repeated.source_partition
        and one.source_offset = repeated.source_offset
) as details;

-- Seconds per hour: TOTAL_DURATION (received → row), and from the event's own time to its row, which has the
-- wait in Kafka, too. Backfilled rows are left out: their events were old.
create or replace view latency_percentiles as
select
    hour,
    events,
    total_duration_s[1] as total_duration_p50,
    total_duration_s[2] as total_duration_p95,
    total_duration_s[3] as total_duration_p99,
    event_to_row_s[1] as event_to_row_p50,
    event_to_row_s[2] as event_to_row_p95,
    event_to_row_s[3] as event_to_row_p99
from (
    select
        date_trunc('hour', message_receive_time at time zone 'UTC') at time zone 'UTC' as hour,
        count(*) as events,
        percentile_cont(array[0.50, 0.95, 0.99]) within group (order by total_duration) as total_duration_s,
        percentile_cont(array[0.50, 0.95, 0.99]) within group (
            order by extract(epoch from message_receive_time - event_time)::double precision + total_duration
        ) as event_to_row_s
    from moderation_events
    where backfill is null
    group by 1
) as hours;

commit;
