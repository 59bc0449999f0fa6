#!/usr/bin/env bash
# A cluster with SLURM: two machines with four GPUs each.
#
#   sbatch book/recipes/train/slurm.sh --layout coco --data coco --out runs/objects
#
# --resume goes on after an interruption; at the first start there is nothing to go on from.
#SBATCH --job-name=segedu
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --output=%x-%j.log
set -euo pipefail

MACHINES=$(scontrol show hostnames "$SLURM_JOB_NODELIST")
MAIN=${MACHINES%%$'\n'*} # the first line; a pipe to head may fail, as head does not read on

# Since version 22.05 srun asks for the processors of a task anew.
export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"
# srun starts one launcher on each machine; each launcher starts one process for each GPU.
srun torchrun --nnodes "$SLURM_NNODES" --nproc-per-node gpu \
    --rdzv-backend c10d --rdzv-endpoint "$MAIN:29400" --rdzv-id "$SLURM_JOB_ID" \
    -m segedu train --resume "$@"
