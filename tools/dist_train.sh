#!/usr/bin/env bash
# Train on several GPUs of this machine (or CPU processes, where there is no GPU):
#   bash tools/dist_train.sh CONFIG NUM_PROCESSES [flags of tools/train.py]
# MAX_RESTARTS=3 starts all processes again after one of them died; give --auto-resume with it.
# Several machines: set NNODES, NODE_RANK and MASTER_ADDR on each.
set -euo pipefail
if [ $# -lt 2 ]; then
    echo 'usage: bash tools/dist_train.sh CONFIG NUM_PROCESSES [flags of tools/train.py]' >&2
    exit 2
fi
config=$1
num_processes=$2
shift 2
if ! [[ $num_processes =~ ^[1-9][0-9]*$ ]]; then
    echo "error: NUM_PROCESSES must be a whole number, got '$num_processes'" >&2
    exit 2
fi
# One machine: a free port of its own, so that two runs do not meet. Several machines must agree on one.
if [ "${NNODES:-1}" = 1 ]; then
    rendezvous=(--standalone)
else
    rendezvous=(--nnodes "$NNODES" --node-rank "${NODE_RANK:?set NODE_RANK}" --master-addr "${MASTER_ADDR:?set MASTER_ADDR}" --master-port "${PORT:-29500}")
fi
restarts=${MAX_RESTARTS:-0}
if ! [[ $restarts =~ ^[0-9]+$ ]]; then
    echo "error: MAX_RESTARTS must be a whole number, got '$restarts'" >&2
    exit 2
fi
if [ "$restarts" != 0 ] && [[ " $* " != *' --auto-resume '* ]]; then
    echo 'error: MAX_RESTARTS needs --auto-resume, or a restart would begin from scratch' >&2
    exit 2
fi
threads=$(( $(nproc) / num_processes ))
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(( threads > 0 ? threads : 1 ))}
export MKL_NUM_THREADS=${MKL_NUM_THREADS:-$OMP_NUM_THREADS}
exec "${PYTHON:-python}" -m torch.distributed.run "${rendezvous[@]}" --nproc-per-node "$num_processes" --max-restarts "$restarts" \
    "$(dirname "$0")/train.py" "$config" --launcher pytorch "$@"
