#!/usr/bin/env bash
# Several machines: start the same command on each of them, within a few minutes.
#
#   MAIN=node1 bash book/recipes/train/two-machines.sh --layout coco --data coco --out runs/objects
#
# MAIN is the name or address of one of the machines, which all others can reach at PORT.
# NODES is the number of machines. --data and --out are folders that all machines see.
set -euo pipefail

exec torchrun --nnodes "${NODES:-2}" --nproc-per-node "${GPUS:-gpu}" \
    --rdzv-backend c10d --rdzv-endpoint "${MAIN:?must name one of the machines}:${PORT:-29400}" --rdzv-id "${JOB:-segedu}" \
    -m segedu train "$@"
