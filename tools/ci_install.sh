#!/bin/sh
# Installs what tests need besides Python: a Docker engine, docker-compose, and debootstrap for a base image. Needs root.
set -eu
export DEBIAN_FRONTEND=noninteractive
packages=''
for pair in docker-compose:docker-compose dockerd:docker.io debootstrap:debootstrap; do
    command -v "${pair%%:*}" >/dev/null || packages="$packages ${pair#*:}"
done
[ -n "$packages" ] || exit 0
apt-get update -qq
# shellcheck disable=SC2086
apt-get install -y -qq --no-install-recommends $packages
