# Runs one server and ends it when standard input closes, that is when the
# process that asked for the server is gone, however it went.
# Arguments: stop signal, seconds until SIGKILL, log file, server command line.
# Standard output is a locked file: the server keeps it open as descriptor 3, so
# the lock is held for as long as any process of the server lives.
signal=$1
grace=$2
log=$3
shift 3

# Should this shell be killed, the kernel stops the server (Linux only).
if setpriv --pdeathsig "$signal" true 2>/dev/null; then
    set -- setpriv --pdeathsig "$signal" "$@"
fi

exec 4<&0
"$@" 3>&1 4<&- </dev/null >>"$log" 2>&1 &
server=$!
echo "$server" >&2
exec 2>/dev/null

(
    read -r _
    # A paused server would not see the signal. One that is gone needs none.
    kill -s CONT "$server" || exit
    pkill -CONT -P "$server"
    sleep "$grace" &
    sleeper=$!
    trap 'kill "$sleeper"; exit' TERM
    kill -s "$signal" "$server"
    wait "$sleeper"
    kill -s KILL "$server"
) <&4 >/dev/null &
watcher=$!
exec 4<&- </dev/null

wait "$server"
status=$?
kill "$watcher"
exit "$status"
