#!/usr/bin/env bash
# A real Slurm on this machine, as root: munged, slurmctld and nodes node1, node2, ... of two cores each, all below one folder.
#
#   lab.sh start FOLDER [NODES [OWNER]]   export SLURM_CONF=FOLDER/slurm.conf to use it; it ends with the process OWNER
#   lab.sh kill FOLDER NODE               the node is gone at once, with all that runs on it
#   lab.sh boot FOLDER NODE               and there again
#   lab.sh stop FOLDER
#
# Each node is a slurmd in namespaces of its own: a host name, processes that die with it, and shared memory that no other
# node sees. The port of slurmctld is $LAB_PORT, those of the nodes follow it.
set -euo pipefail
command=$1 folder=$2
export SLURM_CONF=$folder/slurm.conf

# daemon NAME COMMAND...: in a session of its own, its process in run/NAME.pid
daemon() {
  local name=$1
  shift
  setsid "$@" >"$folder/log/$name.out" 2>&1 </dev/null &
  echo $! >"$folder/run/$name.pid"
}

boot() {
  mkdir -p "$folder/spool/$1" "$folder/tmp/$1"
  daemon "$1" unshare --mount --uts --pid --fork --kill-child=KILL --mount-proc --propagation private bash -c "
    hostname $1
    mount -t tmpfs -o mode=1777 tmpfs /dev/shm
    mount --bind '$folder/hosts' /etc/hosts
    exec slurmd -D -N $1 -f '$SLURM_CONF'"
}

# wait_for WHAT TRY...: until the command succeeds, at most 20 seconds
wait_for() {
  local what=$1
  shift
  for _ in $(seq 200); do "$@" && return; sleep 0.1; done
  echo "lab: $what does not come up; see $folder/log" >&2
  exit 1
}

start() {
  local nodes=$1 port=${LAB_PORT:-27000} i
  mkdir -p "$folder"/{run,log,state,spool,tmp,key}
  chmod 755 "$folder" "$folder"/*
  chmod 700 "$folder/key"
  (umask 077 && head -c 128 /dev/urandom >"$folder/key/munge")
  echo "127.0.0.1 localhost $(hostname)" >"$folder/hosts"
  for i in $(seq "$nodes"); do echo "127.0.0.1 node$i" >>"$folder/hosts"; done
  cat >"$SLURM_CONF" <<CONF
ClusterName=lab
SlurmctldHost=$(hostname)(127.0.0.1)
SlurmctldPort=$port
AuthType=auth/munge
AuthInfo=socket=$folder/run/munge.socket
SlurmUser=root
SlurmdUser=root
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool/%n
TmpFS=$folder/tmp/%n
SlurmctldPidFile=$folder/run/slurmctld.own
SlurmdPidFile=$folder/run/%n.own
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc=$folder/log/ended.txt
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
SlurmdParameters=config_overrides
MpiDefault=none
ReturnToService=2
SlurmdTimeout=5
MessageTimeout=3
KillWait=11
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
CompleteWait=0
JobRequeue=1
NodeName=node[1-$nodes] NodeAddr=127.0.0.1 Port=[$((port + 1))-$((port + nodes))] CPUs=2 CoresPerSocket=2 RealMemory=4000
PartitionName=main Nodes=ALL Default=YES MaxTime=02:00:00 DefMemPerNode=500
PartitionName=short Nodes=node1 MaxTime=10
PartitionName=spare Nodes=node1 PriorityTier=1 GraceTime=20
PartitionName=urgent Nodes=node1 PriorityTier=9
CONF
  daemon munged munged --foreground --force --key-file="$folder/key/munge" --socket="$folder/run/munge.socket" \
    --pid-file="$folder/run/munged.own" --log-file="$folder/log/munged.log" --seed-file="$folder/key/seed"
  wait_for munged test -S "$folder/run/munge.socket"
  daemon slurmctld slurmctld -D -c -f "$SLURM_CONF"
  for i in $(seq "$nodes"); do boot "node$i"; done
  wait_for Slurm all_idle "$nodes"
}

all_idle() { [ "$(sinfo --noheader --partition=main --states=idle --format=%D 2>/dev/null)" = "$1" ]; }

# All at once: nothing of it is wanted any more. A node takes its processes with it.
stop() {
  local file
  for file in "$folder"/run/*.pid; do
    kill -9 "$(cat "$file")" 2>/dev/null || true
    rm -f "$file"
  done
}

case $command in
start)
  start "${3:-2}"
  if [ -n "${4:-}" ]; then  # whoever started it may be killed
    setsid bash -c 'while kill -0 "$1" 2>/dev/null; do sleep 1; done; exec bash "$0" stop "$2"' "$0" "$4" "$folder" >/dev/null 2>&1 </dev/null &
  fi ;;
kill) kill -9 "$(cat "$folder/run/$3.pid")" && rm -f "$folder/run/$3.pid" ;;
boot) boot "$3" ;;
stop) stop ;;
*) echo "lab: unknown command '$command'" >&2 && exit 2 ;;
esac
