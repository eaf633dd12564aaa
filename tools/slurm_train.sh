#!/usr/bin/env bash
# Train under SLURM, one task per GPU (or CPU process):
#   GPUS=8 GPUS_PER_NODE=8 bash tools/slurm_train.sh PARTITION JOB_NAME CONFIG [flags of tools/train.py]
# Runs until it is done: SLURM warns two minutes before the time is up (SIGUSR1), the run saves and leaves with 75, and
# with REQUEUE=1 the job is queued again and goes on (give --auto-resume). Further flags of srun: SRUN_ARGS.
set -euo pipefail
if [ $# -lt 3 ]; then
    echo 'usage: [GPUS=8] [GPUS_PER_NODE=8] [CPUS_PER_TASK=8] bash tools/slurm_train.sh PARTITION JOB_NAME CONFIG [flags of tools/train.py]' >&2
    exit 2
fi
partition=$1
job_name=$2
config=$3
shift 3
gpus=${GPUS:-8}
cpus=${CPUS_PER_TASK:-8}
for count in "$gpus" "${GPUS_PER_NODE:-1}" "$cpus"; do
    if ! [[ $count =~ ^[1-9][0-9]*$ ]]; then
        echo "error: GPUS, GPUS_PER_NODE and CPUS_PER_TASK must be whole numbers, got '$count'" >&2
        exit 2
    fi
done
per_node=${GPUS_PER_NODE:-$(( gpus < 8 ? gpus : 8 ))}
if [ "${REQUEUE:-0}" = 1 ] && [[ " $* " != *' --auto-resume '* ]]; then
    echo 'error: REQUEUE=1 starts the job again: give --auto-resume, or it would begin from scratch' >&2
    exit 2
fi
requeue=()
if [ "${REQUEUE:-0}" = 1 ]; then requeue=(--requeue); fi
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
export MASTER_PORT=${MASTER_PORT:-$(( 20000 + RANDOM % 20000 ))}
# --kill-on-bad-exit: ranks that wait for one that has died would wait for ever.
# shellcheck disable=SC2086  # SRUN_ARGS are several words
exec srun --partition="$partition" --job-name="$job_name" --ntasks="$gpus" --ntasks-per-node="$per_node" \
    --gres="gpu:$per_node" --cpus-per-task="$cpus" --kill-on-bad-exit=1 --signal=USR1@120 \
    ${requeue[@]+"${requeue[@]}"} ${SRUN_ARGS:-} \
    "${PYTHON:-python}" -u "$(dirname "$0")/train.py" "$config" --launcher slurm "$@"
