#!/bin/sh
# mac-check.sh: what could not be tried where understudy was built, collected on your Mac.
#
#   sh docs/mac-check.sh > report.txt
#
# It only looks: nothing is changed, started or stopped, and nothing leaves this machine by itself. Secrets are not
# printed: of files with keys only size and mode, of environments only names. Read report.txt before you send it.
# It always ends with 0; a check that cannot be made says so.

LC_ALL=C
export LC_ALL
DATA=${UNDERSTUDY_DATA:-"$HOME/Library/Application Support/understudy"}
USER_ID=$(id -u)

section() {
    printf '\n== %s\n' "$1"
    printf '   why: %s\n' "$2"
}

# Home, user and host are names of persons; tokens should not be here at all, but two looks are better than one.
clean() {
    sed -E -e "s|$HOME|~|g" -e "s|$(id -un)|USER|g" \
        -e 's/(usk|sk|xox[a-z]|gh[a-z])[-_][A-Za-z0-9_-]{8,}/[LEFT OUT]/g' \
        -e 's/(key|token|secret|password)( *=>? *)[^ ].*/\1\2[LEFT OUT]/' \
        -e 's/(KEY|TOKEN|SECRET|PASSWORD)( *=>? *)[^ ].*/\1\2[LEFT OUT]/'
}

# try SECONDS COMMAND…: its output, at most 60 lines, its exit code, and an end after SECONDS.
try() {
    limit=$1
    shift
    if ! command -v "$1" >/dev/null 2>&1; then
        printf '   not here: %s\n' "$1"
        return 0
    fi
    printf '   $ %s\n' "$*" | clean
    out=$(mktemp) || return 0
    "$@" >"$out" 2>&1 </dev/null &
    pid=$!
    (
        sleep "$limit" &
        trap 'kill $!; exit' TERM
        wait
        kill -9 "$pid"
    ) >/dev/null 2>&1 &
    watcher=$!
    wait "$pid" 2>/dev/null
    code=$?
    kill "$watcher" 2>/dev/null
    wait "$watcher" 2>/dev/null
    head -n 60 "$out" | clean | sed 's/^/   | /'
    rm -f "$out"
    printf '   exit code %s\n' "$code"
    return 0
}

# print_job TARGET: what launchd knows of a job, without its environment.
print_job() {
    if ! command -v launchctl >/dev/null 2>&1; then
        printf '   not here: launchctl\n'
        return 0
    fi
    printf '   $ launchctl print %s\n' "$1"
    launchctl print "$1" 2>&1 |
        grep -E '^[^	]|	(state|pid|runs|path|program|last exit code|pended nondemand spawn|immediate reason|exit timeout|minimum runtime|spawn type|properties) =|Could not' |
        clean | sed 's/^/   | /'
    return 0
}

printf 'understudy mac-check 1\n'
printf 'It is safe to read this file line by line before you send it.\n'

section "system" "versions decide which of launchd's habits apply"
try 10 sw_vers
try 5 uname -srm
try 5 sysctl -n hw.model

section "programs" "which python, understudy and assistants a service would find"
for name in python3 understudy claude codex node tmux; do
    where=$(command -v "$name" 2>/dev/null) || where="not here"
    printf '   %s: %s\n' "$name" "$where" | clean
done
try 10 python3 --version
try 10 understudy --version

section "clock" "understudy counts time that goes on during sleep: CLOCK_MONOTONIC of Python stands still on a Mac"
try 10 python3 -c 'import time
for name in ("CLOCK_MONOTONIC", "CLOCK_MONOTONIC_RAW", "CLOCK_UPTIME_RAW"):
    number = getattr(time, name, None)
    print(name, "absent" if number is None else round(time.clock_gettime(number)))'
try 10 sysctl kern.boottime kern.sleeptime kern.waketime

section "sleep" "a sleeping Mac is silent; Power Nap wakes it for seconds, which looks like coming and going"
try 10 pmset -g
try 10 pmset -g assertions
if command -v pmset >/dev/null 2>&1; then
    printf '   the last sleeps and wakes:\n'
    pmset -g log 2>/dev/null | grep -E ' (Sleep|Wake|DarkWake) ' | tail -n 20 | cut -c 1-150 | clean | sed 's/^/   | /'
fi

section "login" "a user agent runs only while somebody is logged in at the screen"
try 10 fdesetup status
if command -v defaults >/dev/null 2>&1; then
    if defaults read /Library/Preferences/com.apple.loginwindow autoLoginUser >/dev/null 2>&1; then
        printf '   automatic login: on\n'
    else
        printf '   automatic login: off, or not readable\n'
    fi
fi
try 5 launchctl managername

section "services" "what launchd says of ours and of an older daemon"
print_job "gui/$USER_ID/org.understudy.daemon"
print_job "gui/$USER_ID/org.understudy.hub"
print_job "gui/$USER_ID/com.assistant.daemon"
print_job "system/com.assistant.daemon"
for plist in "$HOME/Library/LaunchAgents/org.understudy.daemon.plist" "$HOME/Library/LaunchAgents/org.understudy.hub.plist"; do
    if [ -f "$plist" ]; then
        try 10 plutil -lint "$plist"
    else
        printf '   not here: %s\n' "$plist" | clean
    fi
done

section "older daemon" "two daemons take each other's tasks"
found=$(pgrep -fl 'assistant-daemon\.js' 2>/dev/null | cut -c 1-120)
printf '   %s\n' "${found:-none runs}" | clean

section "files" "keys must be readable by you only (mode 600)"
if [ -d "$DATA" ]; then
    find "$DATA" -maxdepth 3 \( -name '*key*' -o -name 'client.json' -o -name env -o -name '*.log' -o -name '*.stderr' \) \
        -exec ls -l {} \; 2>/dev/null | awk '{ print $1, $5, $NF }' | head -n 40 | clean | sed 's/^/   | /'
else
    printf '   no data directory at %s\n' "$DATA" | clean
fi

section "last words" "what the service wrote beside its log: only the kind of each line, not its text"
for file in "$DATA/logs/daemon.stderr" "$DATA/logs/hub.stderr"; do
    if [ -f "$file" ]; then
        printf '   %s: %s lines\n' "$file" "$(wc -l <"$file" | tr -d ' ')" | clean
        grep -oE '^[A-Za-z_.]*(Error|Exception)' "$file" 2>/dev/null | sort | uniq -c | sed 's/^/   | /'
    fi
done

section "keychain" "a service often cannot read the login keychain, where claude keeps its login"
try 10 security show-keychain-info
try 20 claude auth status

section "doctor" "what understudy itself finds here"
try 60 understudy doctor
try 20 understudy service status

section "dry run" "the plist that would be written; keys are never in it"
try 20 understudy service install --dry-run

printf '\n== end\n'
exit 0
