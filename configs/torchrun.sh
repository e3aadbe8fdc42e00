#!/usr/bin/env bash
# One run on the GPUs of one machine, or of several, started by torchrun. Options are those of `iqlightning fit`:
#
#   bash configs/torchrun.sh --config configs/cnn_iq.yaml
#   PROCESSES=2 bash configs/torchrun.sh --config configs/cnn_iq.yaml --trainer.accelerator cpu
#   NODES=2 HEAD=node0:29500 bash configs/torchrun.sh --config configs/cnn_iq.yaml     # the same line on both machines
#
# data.batch_size is that of all processes together and must be a multiple of their number. A run that was killed is
# continued with --ckpt_path last. On several machines `logs` and `data` must be on a disk that they share.
set -euo pipefail
nodes=${NODES:-1}
processes=${PROCESSES:-$(nvidia-smi --list-gpus 2>/dev/null | wc -l)}
if [ "$processes" -lt 1 ]; then
    echo "there is no GPU here: say how many processes to start, PROCESSES=2, and add --trainer.accelerator cpu" >&2
    exit 2
fi
if [ "$nodes" -eq 1 ]; then
    meeting=(--standalone)
else
    meeting=(--nnodes "$nodes" --rdzv-backend c10d --rdzv-id "${RUN:-iqlightning}"
        --rdzv-endpoint "${HEAD:?name the first machine: HEAD=host:port}")
fi
exec python -m torch.distributed.run "${meeting[@]}" --nproc-per-node "$processes" \
    -m iqlightning fit "$@" --trainer.strategy ddp --trainer.num_nodes "$nodes" --trainer.devices "$processes"
