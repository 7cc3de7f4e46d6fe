# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# What all scripts share. To be sourced.

set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
prog=$(basename "$0")
build=${VQ_BUILD_DIR:-$top/build}
PATH=$PATH:/usr/sbin:/sbin

say() { echo "  $*" >&2; }

die() {
    echo "$prog: $*" >&2
    exit 1
}

usage_error() {
    echo "$prog: $* (see $prog --help)" >&2
    exit 2
}

# The comment at the top of a script, from its third line on, is its help
show_help() {
    sed -n '3,/^$/s/^# \{0,1\}//p' "$0"
    exit 0
}

# Version of the QEMU tree $1
tree_version() {
    [ -f "$1/VERSION" ] && [ -d "$1/hw/block" ] ||
        die "$1 is no QEMU source tree; give the folder that holds VERSION"
    tr -d '[:space:]' < "$1/VERSION"
}

# Base that QEMU version $1 is, or nothing
base_of_version() {
    case $1 in
        9.0.0) echo 9.0 ;;
        10.0.*) [ "$1" = 10.0.50 ] || echo 10.0 ;;
    esac
}

check_base() {
    case $1 in
        9.0 | 10.0) ;;
        *) usage_error "unknown BASE \"$1\"; it is 9.0, 10.0 or auto" ;;
    esac
}

# Hook patches of base $1, in order
series() { grep -v '^#' "$top/patches/$1/series"; }

# "FOLDER DESTINATION" lines: where the module's folders go
manifest() { sed -e 's/#.*//' -e '/^[[:space:]]*$/d' "$top/patches/manifest"; }

# Every file of the module as "FILE-HERE<tab>PATH-IN-THE-TREE"
module_files() {
    local folder dest file
    while read -r folder dest; do
        while read -r file; do
            printf '%s\t%s\n' "$top/$folder/$file" "$dest/$file"
        done < <(cd "$top/$folder" && find . -type f | sed 's,^\./,,' | sort)
    done < <(manifest)
}

# Paths in the tree that the hooks of base $1 change, create or delete
hooked_files() {
    local patch
    while read -r patch; do
        sed -n -e 's,^--- a/,,p' -e 's,^+++ b/,,p' "$top/patches/$1/$patch"
    done < <(series "$1") | sort -u
}

# Fail early unless folder $1, or where it will be, has $2 MiB free
need_space() {
    local dir=$1 free
    while [ ! -d "$dir" ]; do dir=$(dirname "$dir"); done
    free=$(df -m --output=avail "$dir" | tail -n 1 | tr -d ' ')
    [ "$free" -ge "$2" ] ||
        die "$dir has $free MiB free and this needs $2; make room or set VQ_BUILD_DIR"
}

# Die unless a $1, "file" or "folder", of ours can be written as $2: nothing
# else that is there now is replaced
check_output() {
    local kind=$1 path=$2 dir
    case $kind in
        file) [ ! -e "$path" ] || [ -f "$path" ] ||
            die "cannot write $path: it is no regular file" ;;
        folder) { [ ! -e "$path" ] && [ ! -L "$path" ]; } ||
            { [ -d "$path" ] && [ ! -L "$path" ]; } ||
            die "cannot write $path: it is no folder" ;;
    esac
    dir=$(dirname "$(readlink -m "$path")")
    while [ ! -e "$dir" ]; do dir=$(dirname "$dir"); done
    [ -d "$dir" ] || die "cannot write $path: $dir is no folder"
    [ -w "$dir" ] || die "cannot write $path: no permission in $dir"
}

# Let file or folder $1 be $2, or what $2, a link to a file, points at
put_output() {
    if [ -d "$1" ]; then
        check_output folder "$2"
        rm -rf "$2"
        mv -T "$1" "$2"
    else
        check_output file "$2"
        mv -f -T "$1" "$(readlink -m "$2")"
    fi
}

# Run "$@" and keep its output in file $1; show a line of it now and then, or
# all of it with make V=1
run_logged() {
    local log=$1 show='/^\[[0-9]+\/[0-9]+\]/ { if (++n % 250 == 1) { print "  " $1; fflush() } }'
    [ -z "${VQ_VERBOSE-}" ] || show='{ print; fflush() }'
    shift
    mkdir -p "$(dirname "$log")"
    if ! "$@" 2>&1 | tee "$log" | awk "$show" >&2; then
        grep -m 5 -E -A 5 'error:|ERROR|FAILED|No space left' "$log" >&2 ||
            tail -n 5 "$log" >&2
        die "\"$1\" failed; the whole output is in $log"
    fi
}
