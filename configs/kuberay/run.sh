#!/bin/sh
# The entry point of rayjob.yaml and raycronjob.yaml: jobs.transcribe with the arguments given, in this cluster.
#
#   status of the job                 what this script does
#   0                                 ends with 0
#   4, another run is at work         looks again after the lease of one that was killed; if it is 4 again, ends with 0
#   2 or 3, which need a person       ends with it: running again does not help
#   1, or killed (128 + the signal)   runs it again, 3 times in all, then ends with it
#
# SIGTERM, as of `ray job stop`, is passed on to the job, and ends this script when the job has ended.

tries=${CITRASCRIBE_TRIES:-3}
pause=${CITRASCRIBE_PAUSE_SECONDS:-30}
lease=${CITRASCRIBE_LEASE_SECONDS:-90}  # more than output.lease_seconds
child='' asked='' was_busy=''

pass_on() {
    asked=${asked}x
    [ -z "$child" ] || kill -TERM "$child" 2>/dev/null
}
trap pass_on TERM INT HUP

# Waits for $child whatever signals come, and sets $status. (A signal that is passed on ends `wait` early.)
wait_for_child() {
    [ -z "$asked" ] || kill -TERM "$child" 2>/dev/null
    while :; do
        was_asked=$asked
        wait "$child"
        now=$?
        [ "$now" -eq 127 ] && [ -n "$was_asked" ] || status=$now
        kill -0 "$child" 2>/dev/null || [ "$was_asked" != "$asked" ] || break
    done
    child=''
}

# Sleeps so many seconds, or until a signal comes. $status stays.
pause_for() {
    code=$status
    sleep "$1" &
    child=$!
    wait_for_child
    status=$code
}

try=1
while [ -z "$asked" ]; do
    python -m jobs.transcribe "$@" &
    child=$!
    wait_for_child
    case $status in
        0 | 2 | 3) exit "$status" ;;
        4)
            if [ -n "$was_busy" ]; then
                echo 'another run is at work on this output: nothing to do' >&2
                exit 0
            fi
            was_busy=x
            echo "another run is at work on this output, or was killed; looking again in $lease s" >&2
            pause_for "$lease"
            continue
            ;;
    esac
    was_busy=''
    [ -z "$asked" ] || break
    [ "$try" -lt "$tries" ] || break
    try=$((try + 1))
    echo "the job ended with status $status; try $try of $tries in $pause s" >&2
    pause_for "$pause"
done
exit "${status:-1}"
