/** The shell scripts of `logs`, which run in the box: one that looks at what there is, one that reads it. */
import * as supervisor from "./supervisor.ts"

const bytes = `
bytes() { wc -c <"$1" 2>/dev/null | tr -d ' '; }
`

/** Lines of an index that are worth looking at; one of hours is thinned out. */
const indexLines = 2000

/**
 * `$1` is how many lines are wanted of each, or nothing; the rest are names. Writes `F <name> <file> <size> <from>` and
 * the lines of the file's index, `I <seconds> <size>`, for each file, and `T <seconds>` for the time.
 *
 * It also keeps logs from growing for ever: whoever looks has them rotated.
 */
export const survey = `${supervisor.common}${supervisor.rotate}${bytes}
index() {
  [ -f "$1" ] || return 0
  every=$(($(wc -l <"$1") / ${indexLines} + 1))
  if [ "$every" = 1 ]; then sed 's/^/I /' "$1"; else awk "NR % $every == 0 { print \\"I\\", \\$0 }" "$1"; fi
}
lines=$1
shift
for name; do
  dir=$SANDBOX_RUN_DIR/services/$name
  [ -f "$dir/log" ] || continue
  rotate "$dir"
  size=$(bytes "$dir/log")
  from=0 older=0
  if [ -n "$lines" ]; then
    from=$((size - $(head -c "$size" "$dir/log" | tail -n "$lines" | wc -c)))
    [ "$from" -gt 0 ] || older=$((lines - $(head -c "$size" "$dir/log" | wc -l)))
    [ "$from" -gt 0 ] || [ -z "$(head -c "$size" "$dir/log" | tail -c 1)" ] || older=$((older - 1))
    [ "$older" -gt 0 ] || older=0
  fi
  if [ -f "$dir/log.1" ]; then
    old=$(bytes "$dir/log.1")
    begin=0
    [ -z "$lines" ] || begin=$((old - $(tail -n "$older" "$dir/log.1" | wc -c)))
    echo "F $name log.1 $old $begin"
    index "$dir/index.1"
  fi
  echo "F $name log $size $from"
  index "$dir/index"
done
echo "T $(date +%s)"
`

/**
 * Standard input is lines `<name> <file> <from> <to> <seconds>` and then a lone dot. `$1` is not empty for whoever wants to
 * follow, and stays connected; the rest are names, each with where to go on.
 *
 * A log that has become shorter was rotated: what was not read yet is in the older file. A frame has as many bytes as its
 * head says, whatever happens to the file meanwhile.
 */
export const read = `${supervisor.common}${bytes}
exec 3<&0
emit() {
  printf '%s %s %s\\n' "$1" "$5" "$(($4 - $3))"
  { tail -c "+$(($3 + 1))" "$SANDBOX_RUN_DIR/services/$1/$2"; cat /dev/zero; } 2>/dev/null | head -c "$(($4 - $3))"
}
while read -r name file from to at; do
  [ "$name" != . ] || break
  if [ "$file" = log ] && [ "$(bytes "$SANDBOX_RUN_DIR/services/$name/log")" -lt "$to" ]; then file=log.1; fi
  emit "$name" "$file" "$from" "$to" "$at"
done <&3
[ -n "$1" ] || exit 0
shift
{ cat <&3; kill $$; } >/dev/null 2>&1 &
follow() {
  dir=$SANDBOX_RUN_DIR/services/$1
  offset=$2
  size=$(bytes "$dir/log")
  if [ "$size" -lt "$offset" ]; then
    old=$(bytes "$dir/log.1")
    [ "$old" -le "$offset" ] || emit "$1" log.1 "$offset" "$old" "$(date +%s)"
    offset=0
  fi
  [ "$size" -le "$offset" ] || emit "$1" log "$offset" "$size" "$(date +%s)"
  offset=$size
}
while :; do
  any=
  left=$#
  while [ "$left" -gt 0 ]; do
    if alive "$SANDBOX_RUN_DIR/services/$1"; then any=1; fi
    follow "$1" "$2"
    set -- "$@" "$1" "$offset"
    shift 2
    left=$((left - 2))
  done
  [ -n "$any" ] || exit 0
  sleep 0.2
done
`
