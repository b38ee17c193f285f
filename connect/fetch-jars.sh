#!/usr/bin/env bash
# Have Maven copy the jars of a Connect worker and its plugins to a folder, and check their digests.
#   fetch-jars.sh FOLDER [SHA256 of the jar of version 4 of the Snowflake connector [PLUGIN…]]
# Needs Maven, a JDK's jar and sha256sum. Plugins: jdbc and snowflake, unless named.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[ $# -ge 1 ] || { sed -n '2,4p' "${BASH_SOURCE[0]}" >&2; exit 64; }
mkdir -p "$1"
target=$(cd "$1" && pwd)
snowflake_sha256=${2:-}
plugins=("${@:3}")
[ ${#plugins[@]} -gt 0 ] || plugins=(jdbc snowflake)

# fetch FOLDER-OF-THE-POM FOLDER-FOR-THE-JARS
fetch() {
  mvn --batch-mode --no-transfer-progress --strict-checksums --quiet --file "$1/pom.xml" \
    org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
    -DincludeScope=runtime "-DoutputDirectory=$2"
  (cd "$2" && sha256sum --check --strict --quiet "$1/jars.sha256")
  # plugin.discovery=service_load finds plugins by their manifests; this is for those that bring none.
  [ ! -d "$1/META-INF" ] || jar --create --file "$2/manifest.jar" -C "$1" META-INF
}

fetch "$here/runtime" "$target/runtime"
for plugin in "${plugins[@]}"; do
  fetch "$here/plugins/$plugin" "$target/plugins/$plugin"
done
if [ -n "$snowflake_sha256" ]; then
  jar=$(echo "$target"/plugins/snowflake/snowflake-kafka-connector-*.jar)
  echo "$snowflake_sha256  $jar" | sha256sum --check --strict --quiet
fi
