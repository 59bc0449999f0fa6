#!/usr/bin/env bash
# One machine: one process for each of its GPUs.
#
#   bash book/recipes/train/one-machine.sh --layout coco --data coco --out runs/objects
#
# GPUS=2 takes two of them. --batch-size counts the pictures of all processes together.
set -euo pipefail

exec torchrun --standalone --nproc-per-node "${GPUS:-gpu}" -m segedu train "$@"
