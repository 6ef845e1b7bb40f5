#!/usr/bin/env bash
# Makes a base image for Dockerfile.gateway and Dockerfile.service without an image registry: Debian's smallest system
# with Python and certificates. Needs root, debootstrap and a running Docker engine; takes about a minute.
#
#   tools/base_image.sh TAG
#
# The mirror, the authorities and pip's configuration are this machine's own, so that builds behind a company's proxy
# work as pip does outside.
set -euo pipefail
tag=${1:?usage: tools/base_image.sh TAG}
# shellcheck source=/dev/null
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
mirror=$(apt-get indextargets --format '$(CODENAME) $(REPO_URI)' 'Identifier: Packages' 2>/dev/null |
    sed -n "s/^$suite //p" | head -n 1)
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates "$suite" "$root" ${mirror:+"$mirror"} >&2
# What an image does not need: package lists and archives, manuals, translations.
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/* "$root"/usr/share/{doc,man,locale,info}/*
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
if [ -e /etc/pip.conf ]; then cp /etc/pip.conf "$root/etc/pip.conf"; fi
tar -C "$root" --one-file-system -c . | docker import --change 'CMD ["python3"]' - "$tag" >&2
