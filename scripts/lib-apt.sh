# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# Packages from Debian's archive without touching the machine's own APT
# configuration: a private one under build/apt/, with the mirror that the
# machine uses and Debian's archive keys. Needs no root. To be sourced after
# lib.sh.

apt_dir=$build/apt
apt_options=(
    -qq
    -o "Dir::State=$apt_dir/state"
    -o "Dir::State::status=/var/lib/dpkg/status"
    -o "Dir::Cache=$apt_dir/cache"
    -o "Dir::Etc::sourcelist=$apt_dir/sources.list"
    -o "Dir::Etc::sourceparts=-"
    -o "APT::Sandbox::User=$(id -un)"
    -o "Acquire::Retries=2"
)

apt_private() { apt-get "${apt_options[@]}" "$@"; }

# Set up the private APT once per run
apt_private_init() {
    local keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    local codename mirror

    [ -z "${apt_ready-}" ] || return 0
    command -v apt-get > /dev/null && [ -f "$keyring" ] ||
        die "this needs Debian's APT; use QEMU_SRC=DIR or BASE=9.0 elsewhere"
    codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
    mirror=$(apt-get indextargets --format '$(CODENAME) $(REPO_URI)' \
             'Created-By: Packages' | awk -v c="$codename" \
             '$1 == c { print $2; exit }')
    [ -n "$mirror" ] || die "APT knows no mirror for Debian $codename; add one to its sources"

    mkdir -p "$apt_dir"/state/lists/partial "$apt_dir"/cache/archives/partial
    cat > "$apt_dir/sources.list" << EOF
deb [signed-by=$keyring] $mirror $codename main
deb [signed-by=$keyring] $mirror $codename-backports main
deb-src [signed-by=$keyring] $mirror trixie main
EOF
    say "asking Debian's archive"
    apt_private -o APT::Update::Error-Mode=any update > "$apt_dir/update.log" 2>&1 ||
        die "cannot reach Debian's archive: $(tail -n 1 "$apt_dir/update.log")"
    apt_ready=1
}

# Unpack the newest package $1 into folder $2, which it creates as a whole
apt_unpack() {
    local package=$1 dest=$2 tmp
    check_output folder "$dest"
    apt_private_init
    mkdir -p "$(dirname "$dest")"
    tmp=$(mktemp -d "$dest.XXXXXX")
    (
        cd "$tmp"
        apt_private download "$package" 2> err ||
            die "cannot download $package: $(tail -n 1 err)"
        mkdir root
        dpkg-deb -x ./*.deb root
    ) || { rm -rf "$tmp"; exit 1; }
    put_output "$tmp/root" "$dest"
    rm -rf "$tmp"
}
