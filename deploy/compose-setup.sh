#!/bin/sh
# Run by the compose file's `setup` service: makes a development committee of three and hands each container its part,
# in its own volume. Nothing that exists is overwritten.
set -eu
umask 077
cd /setup
for name in gateway client node-0 node-1 node-2; do
    if [ -n "$(ls -A "$name")" ]; then
        echo "the volume of $name is not empty: it was set up already. To begin again, and lose its shares:" >&2
        echo "docker-compose down --volumes" >&2
        exit 1
    fi
done
new=/tmp/new
# What it prints names places in this container, which nobody needs.
mpc-keygen init "$new" --host 0.0.0.0 --tls --gateway-name gateway --node-name 'node-{index}' >/dev/null
for index in 0 1 2; do
    cp -R "$new/node-$index/." "node-$index/"
done
cp -R "$new/sign-gateway.yaml" "$new/gateway-keys.json" "$new/tls" gateway/
mkdir client/tls
cp "$new/tls/ca.pem" client/tls/
cp "$new/client.yaml" "$new/client.token" "$new/committee.yaml" client/
sync
echo "set up; next: docker-compose up -d"
