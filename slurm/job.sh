# What every job does. Above: what Slurm is asked for, and
#   program, arguments   kronlab and what stands behind it, but --cells
#   folder               of the submission; line N of its file `cells` is task N
#   launcher             auto, srun or mpirun
#   max_restarts         of a task
set -uo pipefail
say() { echo "$(date -u +%FT%TZ) $*"; }

job=$SLURM_JOB_ID task=${SLURM_ARRAY_TASK_ID:-1} restarts=${SLURM_RESTART_COUNT:-0}
[ -z "${SLURM_ARRAY_JOB_ID:-}" ] || job=${SLURM_ARRAY_JOB_ID}_$task  # alone, the last task's number means the whole array
cells=$(sed -n "${task}p" "$folder/cells")
[ -n "$cells" ] || { say "'$folder/cells' has no line $task: submit the sweep again"; exit 2; }

# Before OMP_NUM_THREADS is set, which nproc obeys.
allowed=$(nproc)
export OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK
export TMPDIR=$scratch/kronlab-$SLURM_JOB_ID

if [ "$launcher" = auto ]; then
  launcher=mpirun
  if srun --mpi=list 2>&1 | grep -qw pmix; then launcher=srun; fi
fi
if [ "$launcher" = srun ]; then
  # Ranks that checkpointed end with 75 one after another: the first one is no reason to kill the others. One that died is: after --wait.
  launch=(srun --mpi=pmix --cpus-per-task="$OMP_NUM_THREADS" --cpu-bind=cores --kill-on-bad-exit=0 --wait=5)
else
  # mpirun counts cores from the node's first, as every job's mpirun does: it may bind only where Slurm gave this job cores of its own.
  bind=(--bind-to none)
  [ "$allowed" -ne "$SLURM_CPUS_ON_NODE" ] || bind=(--map-by "slot:PE=$OMP_NUM_THREADS")
  # Told to end, mpirun waits so long before it passes that on, and once more before it kills; all of it within Slurm's KillWait.
  kill_wait=$(scontrol show config 2>/dev/null | sed -n 's/^KillWait *= *\([0-9]*\) sec$/\1/p')
  kill_wait=${kill_wait:-30}
  launch=(mpirun -n "$SLURM_NTASKS" "${bind[@]}" --mca odls_base_sigkill_timeout $((kill_wait > 6 ? (kill_wait - 3) / 2 : 1)))
fi

tidy() {
  rm -rf "$TMPDIR"
  [ "$SLURM_JOB_NUM_NODES" -eq 1 ] || srun --mpi=none --overlap --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 \
    --cpus-per-task=1 rm -rf "$TMPDIR" 2>/dev/null || true
}
trap tidy EXIT

say "task $task of $job, restart $restarts, on $SLURM_JOB_NODELIST: $SLURM_NTASKS rank(s) of $OMP_NUM_THREADS thread(s) by $launcher; cells $cells"
"${launch[@]}" bash -c 'mkdir -p "$TMPDIR" && exec "$@"' rank "$program" "${arguments[@]}" --cells "$cells" &
ranks=$!
reason=
# SIGUSR2 only sets a flag, so ranks that Slurm has told as well are told once.
stop() {
  reason=$1 was_interrupted=yes
  say "$2: the ranks checkpoint and stop"
  kill -USR2 "$ranks" 2>/dev/null
}
trap 'stop limit "the time limit is near (SIGUSR1)"' USR1
trap 'stop ended "Slurm ends the job (SIGTERM)"' TERM
was_interrupted=yes
while [ -n "$was_interrupted" ]; do
  was_interrupted=
  wait "$ranks"
  code=$?
done
trap '' USR1 TERM  # what is queued again is told to end

# Before its handlers are there, a rank dies of SIGUSR2; it has nothing to lose yet.
if [ "$reason" = limit ] && [ "$code" -eq $((128 + 12)) ]; then code=75; fi
if [ "$reason" = ended ] && [ "$code" -ne 0 ]; then
  # mpirun ends with 1 then, whatever its ranks end with.
  say "stopped with exit code $code; what is in checkpoints is kept: if Slurm does not start this again, submit the sweep again to go on"
  exit "$code"
fi
[ "$code" -eq 75 ] || { say "ended with exit code $code"; exit "$code"; }
if [ "$restarts" -ge "$max_restarts" ]; then
  say "stopped after a checkpoint, and restarted $restarts times (max_restarts): submit the sweep again to go on"
elif scontrol requeue "$job"; then
  say "stopped after a checkpoint and queued again"
else
  say "stopped after a checkpoint, but Slurm does not queue it again: submit the sweep again to go on"
fi
exit 75
