#!/bin/sh
# Installs what tests need besides Python: a Docker engine, docker-compose, debootstrap for a base image, a Redis server, a PKCS#11 token in
# software, OpenSSH's client, and a C compiler for the library that ends a process at a chosen system call. Needs root.
set -eu
export DEBIAN_FRONTEND=noninteractive
packages=''
for pair in docker-compose:docker-compose dockerd:docker.io debootstrap:debootstrap redis-server:redis-server softhsm2-util:softhsm2 \
    cc:gcc ssh-keygen:openssh-client; do
    command -v "${pair%%:*}" >/dev/null || packages="$packages ${pair#*:}"
done
case "$packages" in *gcc*) packages="$packages libc6-dev" ;; esac
[ -n "$packages" ] || exit 0
apt-get update -qq
# shellcheck disable=SC2086
apt-get install -y -qq --no-install-recommends $packages
