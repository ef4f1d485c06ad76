# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Sourced by the scripts here. A private apt for each architecture and suite: the host's own apt and dpkg never change.
MATRIX=${VPNPT_MATRIX:-$PWD/build/matrix}
HERE=$PWD/tests/vm/matrix
PATH=$PATH:/usr/sbin:/sbin

# Debian's mirrors: the host's own where it is a Debian, else the official ones.
mirror() { # N DEFAULT
  local found
  found=$(sed -n 's/^URIs: //p' /etc/apt/sources.list.d/debian.sources 2>/dev/null | sed -n "$1p")
  echo "${found:-$2}"
}

# private_apt ARCH SUITE: sets the array APT, updates the lists once.
private_apt() {
  local arch=$1 suite=$2 at=$MATRIX/apt/$1-$2 main security
  main=$(mirror 1 http://deb.debian.org/debian)
  security=$(mirror 2 http://deb.debian.org/debian-security)
  mkdir -p "$at"/{state/lists/partial,cache/archives/partial,etc/preferences.d}
  : >"$at/status"
  local key="[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg arch=$arch]"
  {
    echo "deb $key $main $suite main"
    case $suite in
      bookworm | trixie) [ "$arch" = armhf ] || echo "deb $key $security $suite-security main" ;;
      *-backports) echo "deb $key $main ${suite%-backports} main" ;;
    esac
  } >"$at/sources.list"
  APT=(-qq -o "Dir::Etc::sourcelist=$at/sources.list" -o Dir::Etc::sourceparts=/dev/null -o "Dir::State=$at/state"
    -o "Dir::State::Lists=$at/state/lists" -o "Dir::State::status=$at/status" -o "Dir::Cache=$at/cache"
    -o "Dir::Cache::archives=$at/cache/archives" -o "Dir::Etc::preferencesparts=$at/etc/preferences.d" -o "APT::Architecture=$arch"
    -o "APT::Architectures=$arch" -o APT::Install-Recommends=false -o Debug::NoLocking=true -o APT::Sandbox::User=root
    -o Acquire::Languages=none -o APT::Get::Assume-Yes=true)
  [ -e "$at/updated" ] || { apt-get "${APT[@]}" update && touch "$at/updated"; }
}

# unpack DIRECTORY DEB...: laid over a merged /usr; no maintainer scripts are run.
unpack() {
  local deb to=$1
  shift
  mkdir -p "$to/usr"
  for deb in "$@"; do
    # base-files of Debian 13 has the links themselves.
    case $deb in */base-files_1[34]*) continue ;; esac
    dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$to" --exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' \
      --exclude='./usr/share/locale/*' --transform='s,^\./\(bin\|sbin\|lib\|lib64\)\(/\|$\),./usr/\1\2,;'
  done
}

# The repository, without what is made from it.
repository() { tar -C "$PWD" --exclude=./.git --exclude=./.venv --exclude=./build --exclude=./dist --exclude=__pycache__ -cf - .; }
