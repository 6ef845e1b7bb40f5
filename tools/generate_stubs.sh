#!/bin/sh
# Regenerates kit/pb from proto/. Needs grpcio-tools and mypy-protobuf (requirements/dev.txt).
#
#   tools/generate_stubs.sh [DIRECTORY]      PYTHON=... names the interpreter; DIRECTORY replaces kit/pb
#
# CI runs it and fails on `git diff --exit-code kit/pb`.
set -eu
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-.venv/bin/python}
OUT=${1:-kit/pb}
PATH="$(dirname "$PYTHON"):$PATH"
export PATH

find "$OUT" \( -name '*_pb2*.py' -o -name '*_pb2*.pyi' \) -delete
files=$(cd proto && find . -name '*.proto' | sed 's,^\./,,' | LC_ALL=C sort)
# shellcheck disable=SC2086
"$PYTHON" -m grpc_tools.protoc -Iproto \
    --python_out="$OUT" --grpc_python_out="$OUT" --mypy_out=quiet:"$OUT" --mypy_grpc_out=quiet:"$OUT" $files

# protoc writes imports as if proto/ were a Python source root. The descriptors keep the canonical file names
# (wallet/v1/wallet.proto), so that foreign tools find them; only the Python imports move below kit.pb.
find "$OUT" \( -name '*_pb2*.py' -o -name '*_pb2*.pyi' \) -exec sed -i -E \
    -e 's/^import mpc_pb2/from kit.pb import mpc_pb2/' \
    -e 's/^from wallet\.v1 import/from kit.pb.wallet.v1 import/' \
    -e 's/^import wallet\.v1\./import kit.pb.wallet.v1./' {} +

# A file without a service has no stubs worth keeping.
for file in $(find "$OUT" -name '*_pb2_grpc.py'); do
    grep -q '^class ' "$file" || rm -f "$file" "${file%.py}.pyi"
done
