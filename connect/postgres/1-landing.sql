-- The landing table of the local warehouse: every record of the results topic, by its place in Kafka.
-- Safe to run again: psql "$STREAMAPP_WAREHOUSE_URL" -v ON_ERROR_STOP=1 -f connect/postgres/1-landing.sql
-- What has landed keeps what was taken out of it then; update landing set doc = doc takes it out anew.
--
-- The record's value is bytea, as it came: PostgreSQL refuses the character U+0000 in text, and a record that
-- the table refuses stops the sink's task for good. What is no row lands as well; the view not_rows has it.

begin;

create table if not exists landing (
    __connect_topic text not null,
    __connect_partition int not null,
    __connect_offset bigint not null,
    doc bytea,
    loaded_at timestamptz not null default now(),
    -- Taken out of doc by the trigger below, once, so that no view parses a million documents.
    row_doc jsonb,
    source_topic text,
    source_partition int,
    source_offset bigint,
    received_at timestamptz,
    event_at timestamptz,
    total_duration_s double precision,
    backfill text,
    primary key (__connect_topic, __connect_partition, __connect_offset)
);

comment on table landing is 'Every record of the results topic, written by Kafka Connect.';
comment on column landing.doc is 'The record''s value as it came; null: a tombstone.';
comment on column landing.row_doc is 'The value as JSON where it is a result row, else null.';
comment on column landing.source_offset is 'Position of the source event, with topic and partition; null in rows of the old deployment.';
comment on column landing.received_at is 'MESSAGE_RECEIVE_TIME; null where it can''t be read.';
comment on column landing.event_at is 'EVENT_TIME; null where it can''t be read.';
comment on column landing.total_duration_s is 'TOTAL_DURATION; null where it can''t be read.';
comment on column landing.backfill is 'The id of the backfill that the row is of; null: of none.';

-- Casts that answer null where a value can't be read: a view must not raise over one odd row.

create or replace function try_int(value text) returns int
    language sql immutable parallel safe
    as $$ select case when value ~ '^-?[0-9]{1,9}$' then value::int end $$;

create or replace function try_bigint(value text) returns bigint
    language sql immutable parallel safe
    as $$ select case when value ~ '^-?[0-9]{1,18}$' then value::bigint end $$;

create or replace function try_number(value text) returns double precision
    language sql immutable parallel safe
    as $$ select case when value ~ '^-?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,2})?$' then value::double precision end $$;

create or replace function try_boolean(value text) returns boolean
    language sql immutable parallel safe
    as $$ select case lower(value) when 'true' then true when 'false' then false end $$;

-- A date and time as ISO 8601 writes it, with T or a space; UTC where it names no zone. Immutable only because
-- of the pattern: 'now' and 'today' are times to PostgreSQL, too. Not parallel safe, as nothing that catches an
-- exception is: the views use the columns that the trigger fills.
create or replace function try_time(value text) returns timestamptz
    language plpgsql immutable
    as $$
begin
    if value !~ '^\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d(:?\d\d)?)?$' then
        return null;
    end if;
    return (value || case when value ~ '(Z|[+-]\d\d(:?\d\d)?)$' and length(value) > 19 then '' else 'Z' end)::timestamptz;
exception when others then
    return null;
end
$$;

-- A record's value as JSON; null where it is none. JSON may have the character U+0000 in a text (a user name),
-- which jsonb refuses: it becomes U+FFFD, so that a name never costs a verdict.
create or replace function try_jsonb(value bytea) returns jsonb
    language plpgsql immutable
    as $$
begin
    return convert_from(value, 'UTF8')::jsonb;
exception
    when untranslatable_character then
        begin
            return regexp_replace(convert_from(value, 'UTF8'), '(?<!\\)((?:\\\\)*)\\u0000', '\1\\ufffd', 'g')::jsonb;
        exception when others then
            return null;
        end;
    when others then
        return null;
end
$$;

-- A JSON object, or the empty one in place of anything else: jsonb_each raises on what is no object.
create or replace function object_or_empty(value jsonb) returns jsonb
    language sql immutable parallel safe
    as $$ select case when jsonb_typeof(value) = 'object' then value else '{}'::jsonb end $$;

-- Why a value is no row; null where it is one.
create or replace function why_not_row(value jsonb) returns text
    language sql immutable parallel safe
    as $$
    select case
        when value is null then 'not JSON'
        when jsonb_typeof(value) <> 'object' then 'JSON, and no object'
        when value ->> 'UID' is null then 'no UID'
        when value ->> 'MESSAGE_RECEIVE_TIME' is null then 'no MESSAGE_RECEIVE_TIME'
        when jsonb_typeof(value -> 'MODEL_ATTRIBUTES') is distinct from 'object' then 'no MODEL_ATTRIBUTES object'
    end
    $$;

create or replace function read_landed() returns trigger
    language plpgsql
    as $$
declare
    parsed jsonb := try_jsonb(new.doc);
    source jsonb;
begin
    new.row_doc := case when why_not_row(parsed) is null then parsed end;
    new.received_at := try_time(new.row_doc ->> 'MESSAGE_RECEIVE_TIME');
    new.event_at := try_time(new.row_doc ->> 'EVENT_TIME');
    new.total_duration_s := try_number(new.row_doc ->> 'TOTAL_DURATION');
    new.backfill := new.row_doc #>> '{MODEL_ATTRIBUTES,PROVENANCE,backfill}';
    source := new.row_doc #> '{MODEL_ATTRIBUTES,PROVENANCE,source}';
    new.source_topic := source ->> 'topic';
    new.source_partition := try_int(source ->> 'partition');
    new.source_offset := try_bigint(source ->> 'offset');
    -- No topic has a longer name; a text over 2.7 kB would not fit in the index.
    if new.source_topic is null or length(new.source_topic) > 249
        or new.source_partition is null or new.source_offset is null then
        new.source_topic := null;
        new.source_partition := null;
        new.source_offset := null;
    end if;
    return new;
end
$$;

-- On update as well: the sink upserts what it repeats.
create or replace trigger landing_read before insert or update of doc on landing
    for each row execute function read_landed();

create index if not exists landing_source on landing (source_topic, source_partition, source_offset)
    where source_topic is not null;
create index if not exists landing_received on landing (received_at) where row_doc is not null;
-- A hash: a btree refuses texts over 2.7 kB, and users choose their ids.
create index if not exists landing_uid on landing using hash ((row_doc ->> 'UID')) where row_doc is not null;
create index if not exists landing_not_rows on landing (loaded_at) where row_doc is null;

commit;
