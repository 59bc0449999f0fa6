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

MAIN=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)

# srun starts one launcher on each machine; each launcher starts one process for each GPU.
srun torchrun --nnodes "$SLURM_NNODES" --nproc-per-node gpu \
    --rdzv-backend c10d --rdzv-endpoint "$MAIN:29400" --rdzv-id "$SLURM_JOB_ID" \
    -m segedu train --resume "$@"
