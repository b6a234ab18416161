# SPDX-License-Identifier: GPL-2.0-only
# Sourced by suites: processes in the guests of a lab (agent.c), which are asked line by line. Uses
# $vmlab, $lab, $agent_program and the directory $work, where "why" says what went wrong last.
# shellcheck shell=bash disable=SC2154 # variables are the suite's

declare -A agent_in agent_out agent_pid agent_guest
reply=
group=1000
patience=${VMSHM_PATIENCE:-1}    # how much longer than usual all may take

in_guest() { # K COMMAND
    timeout -k 5 $((${limit:-30} * patience)) "$vmlab" ssh --name "$lab" "$1" -- "$2"
}

agent() { # NAME K [UID]: a process in guest K, root without UID
    local name=$1 in out
    rm -f "$work/$name.in" "$work/$name.out"
    mkfifo "$work/$name.in" "$work/$name.out"
    "$vmlab" ssh --name "$lab" "$2" -- "VMSHM_GROUP=$group exec $agent_program" \
        <"$work/$name.in" >"$work/$name.out" 2>>"$work/agents.err" &
    agent_pid[$name]=$!
    agent_guest[$name]=$2
    exec {in}>"$work/$name.in" {out}<"$work/$name.out"
    agent_in[$name]=$in
    agent_out[$name]=$out
    [[ -z ${3:-} ]] || expect "$name" "uid $3" ok
}

# Send, and take the answer later with `answer`.
send() { # NAME COMMAND
    echo "$2" >&"${agent_in[$1]}"
}

answer() { # NAME [SECONDS]: into reply
    reply=
    read -r -t $((${2:-20} * patience)) -u "${agent_out[$1]}" reply || reply="(no answer)"
}

ask() { # NAME COMMAND: its answer into reply
    send "$1" "$2"
    answer "$1"
}

says() { # PATTERN: is it the reply's start, or the reply as a pattern? else it is told
    # shellcheck disable=SC2053 # a pattern
    if [[ $reply != $1 && $reply != $1' '* ]]; then
        echo "expected \"$1\", got \"$reply\"" >>"$work/why"
        return 1
    fi
}

expect() { # NAME COMMAND PATTERN
    ask "$1" "$2"
    says "$3" || { echo "  from $1 (guest ${agent_guest[$1]}), asked: $2" >>"$work/why"; return 1; }
}

value() { # NAME: of the reply
    local word
    for word in $reply; do
        if [[ $word == "$1="* ]]; then
            echo "${word#*=}"
            return 0
        fi
    done
    echo "no $1 in \"$reply\"" >>"$work/why"
    echo 0
}

dismiss() { # NAME...: they end by themselves
    local name in out
    for name in "$@"; do
        [[ -v agent_pid[$name] ]] || continue
        in=${agent_in[$name]} out=${agent_out[$name]}
        exec {in}>&- {out}<&-
        kill "${agent_pid[$name]}" 2>/dev/null || true
        wait "${agent_pid[$name]}" 2>/dev/null || true
        unset "agent_pid[$name]" "agent_in[$name]" "agent_out[$name]"
    done
}

dismiss_all() {
    dismiss "${!agent_pid[@]}"
}

# within MS COMMAND...: until it is true; the last try says why not
within() {
    local end=$(($(date +%s%3N) + $1 * patience))
    shift
    while ! "$@"; do
        if (($(date +%s%3N) > end)); then
            return 1
        fi
        : >"$work/why"
        sleep 0.1
    done
}
