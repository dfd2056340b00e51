#!/bin/sh
# Waits for Temporal, then creates the namespace and the search attributes that verdex sets, where they are missing.
# The temporal command reads the address and any TLS from TEMPORAL_…, as every client does.
set -eu

: "${TEMPORAL_ADDRESS:?is not set: host:port of the Temporal service, such as 127.0.0.1:7233}"
: "${TEMPORAL_NAMESPACE:?is not set: the namespace to create, such as default}"

operator() {
    # Not left to the environment: `namespace create` of CLI 1.9 does not heed TEMPORAL_NAMESPACE there.
    temporal operator "$@" --namespace "$TEMPORAL_NAMESPACE" --address "$TEMPORAL_ADDRESS" --command-timeout 10s
}

# Runs a command until it succeeds; shows what it said only when it never did.
wait_for() {
    attempts=30
    until said=$("$@" 2>&1); do
        attempts=$((attempts - 1))
        if [ "$attempts" -eq 0 ]; then
            echo "$said" >&2
            echo "Gave up on: $*" >&2
            exit 1
        fi
        sleep 2
    done
}

has_search_attribute() {
    operator search-attribute list | grep -E "^ *$1 +Keyword( |\$)"
}

echo "Waiting for Temporal at $TEMPORAL_ADDRESS"
wait_for operator cluster health

if operator namespace describe >/dev/null 2>&1; then
    echo "The namespace $TEMPORAL_NAMESPACE exists"
else
    operator namespace create --retention 7d
    # It takes some seconds to reach every part of the server.
    wait_for operator search-attribute list
fi

# One at a time: of several names, CLI 1.9 adds the first, and says that it added them all.
for attribute in VerdexProject VerdexRepository VerdexStatus VerdexErrorType; do
    operator search-attribute create --type Keyword --name "$attribute" >/dev/null
    wait_for has_search_attribute "$attribute"
    echo "The search attribute $attribute is there"
done
