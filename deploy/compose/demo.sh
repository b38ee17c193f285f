#!/bin/sh
# What `docker compose run demo` does: sends an event for each picture of the service `pictures` and for three
# that can't be had or read, waits until their rows are in the warehouse, and shows them. Ends with 1 where an
# event has no outcome or a row did not arrive.
set -eu
pictures=${PICTURES_URL:-http://pictures:8000}
# A user of this run's own: its rows are told from those of others by it.
user="demo-$(date -u +%Y%m%dT%H%M%SZ)"

streamapp send --wait --timeout 300 --user-id "$user" \
    "$pictures/astronaut.jpg" \
    "$pictures/camera.jpg" \
    "$pictures/chelsea.jpg" \
    "$pictures/coffee.jpg" \
    "$pictures/rocket.jpg" \
    "$pictures/SOURCES.md" \
    "$pictures/not-there.jpg" \
    "http://169.254.169.254/latest/meta-data/"
streamapp warehouse check --wait 60
streamapp warehouse query "
    select
        replace(image_url, '$pictures/', '') as picture,
        to_be_moderated as moderate,
        nn_unsafe_score as unsafe,
        predicted_primary_category as category,
        nn_status as status,
        reason,
        total_duration as seconds
    from moderation_events
    where uid = '$user'
    order by source_offset"
