# The last job of a submission: the experiment's table, as the store has it now. Above: report, arguments, table.
set -euo pipefail
mkdir -p "$(dirname "$table")"
"$report" "${arguments[@]}" >"$table.$SLURM_JOB_ID"
mv "$table.$SLURM_JOB_ID" "$table"
cat "$table"
