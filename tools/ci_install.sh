#!/bin/sh
# Installs what tests need besides Python: a Docker engine, docker-compose, debootstrap for a base image, a Redis server,
# a NATS server, Prometheus, a PKCS#11 token in software, a browser, curl, tools for network namespaces, a load balancer, OpenSSH's client, and a C compiler for the library that ends a
# process at a chosen system call. Needs root.
set -eu
export DEBIAN_FRONTEND=noninteractive
packages=''
for pair in docker-compose:docker-compose dockerd:docker.io debootstrap:debootstrap redis-server:redis-server nats-server:nats-server prometheus:prometheus \
    chromium:chromium curl:curl ip:iproute2 haproxy:haproxy softhsm2-util:softhsm2 cc:gcc ssh-keygen:openssh-client; do
    command -v "${pair%%:*}" >/dev/null || packages="$packages ${pair#*:}"
done
case "$packages" in *gcc*) packages="$packages libc6-dev" ;; esac
# Debian has no kustomize, and a kubectl whose own is too old. Go 1.21 or newer builds it.
if ! command -v kubectl >/dev/null && ! command -v kustomize >/dev/null; then
    GOBIN=/usr/local/bin PATH="$PATH:/usr/local/go/bin" go install sigs.k8s.io/kustomize/kustomize/v5@v5.8.3 ||
        echo 'no kubectl, no kustomize, and no Go that builds it: the tests of the manifests will fail' >&2
fi
[ -n "$packages" ] || exit 0
# Tests start their own servers: no package starts one.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
apt-get update -qq
# shellcheck disable=SC2086
apt-get install -y -qq --no-install-recommends $packages
