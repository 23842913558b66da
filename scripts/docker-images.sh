#!/usr/bin/env bash
# Builds the images that tests make containers of, from Debian's packages alone: no registry, no root, only an engine that
# may be used. An image that this recipe has made before is kept.
#
#   scripts/docker-images.sh [base git postgres noshell exits user]      all, unless some are named
#
# Packages are only unpacked, without their scripts: what those would have set up stands here.
set -euo pipefail

# Debian's own client speaks the version of Debian's engine
[ -x /usr/bin/docker ] && docker=/usr/bin/docker || docker=docker
recipe="$(sha256sum "${BASH_SOURCE[0]}" | cut -d ' ' -f 1)"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

# apt with lists and a cache of its own, in which nothing is installed: it answers everything that a package needs.
apt() {
  apt-get -qq -o Dir::State="$work/apt" -o Dir::State::lists=lists -o Dir::State::status="$work/status" \
    -o Dir::Cache="$work/cache" -o APT::Sandbox::User= -o APT::Install-Recommends=false -o Debug::NoLocking=true \
    -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false "$@"
}

# Unpacks packages and all that they depend on into a root, except those that match a pattern.
unpack() {
  local root="$1" without="$2" names directory archive
  shift 2
  if [ ! -e "$work/status" ]; then
    mkdir -p "$work"/{apt/lists,cache/archives}/partial
    touch "$work/status"
    apt update >&2
  fi
  names="$(apt install --simulate "$@" | awk '$1 == "Inst" { print $2 }' | grep -vE "^($without)\$")"
  mkdir -p "$work/packages" "$root"/usr/{bin,sbin,lib,lib64}
  for directory in bin sbin lib lib64; do ln -s "usr/$directory" "$root/$directory"; done
  (cd "$work/packages" && rm -f ./*.deb && apt download $names >&2)
  for archive in "$work"/packages/*.deb; do
    dpkg-deb --fsys-tarfile "$archive" | tar --extract --directory "$root" --keep-directory-symlink --no-same-owner \
      --exclude './usr/share/doc/*' --exclude './usr/share/man/*' --exclude './usr/share/locale/*'
  done
}

# What every root has: root's account, and a /tmp for all.
furnish() {
  local root="$1"
  mkdir -p "$root"/{etc,root,tmp,proc,sys,dev,run,var/tmp}
  chmod 1777 "$root/tmp" "$root/var/tmp"
  chmod 700 "$root/root"
  [ ! -e "$root/var/run" ] || rmdir "$root/var/run"
  ln -s ../run "$root/var/run"
  echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"
  echo 'root:x:0:' >"$root/etc/group"
}

# Links for the names that Debian leaves to a choice.
alternatives() {
  ln -sf mawk "$1/usr/bin/awk"
  ln -sf which.debianutils "$1/usr/bin/which"
}

# Makes an image of a root; whoever runs this, all in it belongs to root.
import() {
  local name="$1" root="$2" change changes=()
  shift 2
  for change in "LABEL sandbox-test.recipe=$recipe" "$@"; do changes+=(--change "$change"); done
  tar --create --directory "$root" --owner 0 --group 0 --numeric-owner . |
    "$docker" import --message "scripts/docker-images.sh $name" "${changes[@]}" - "sandbox-test/$name:1" >/dev/null
}

# Puts busybox, which needs no other file, into a root under a name of its /bin.
busybox() {
  [ -e "$work/busybox" ] || unpack "$work/busybox" - busybox-static
  mkdir -p "$1/bin"
  cp "$work/busybox/bin/busybox" "$1/bin/$2"
}

# A small system: busybox as the shell and the usual tools. Its `wget -T` crashes; there is `timeout`.
small() {
  local path
  busybox "$1" busybox
  for path in $("$1/bin/busybox" --list-full); do
    mkdir -p "$1/$(dirname "$path")"
    [ -e "$1/$path" ] || ln -s /bin/busybox "$1/$path"
  done
  furnish "$1"
  # Debian's busybox has none
  cat >"$1/bin/printenv" <<'PRINTENV'
#!/bin/sh
[ $# -gt 0 ] || exec env
eval "[ -n \"\${$1+set}\" ] && printf '%s\\n' \"\$$1\""
PRINTENV
  chmod 755 "$1/bin/printenv"
}

make_base() {
  small "$work/base"
  import base "$work/base" 'CMD ["sh"]'
}

# An image that runs as somebody, who has a home.
make_user() {
  small "$work/user"
  echo 'dev:x:1234:1234:dev:/home/dev:/bin/sh' >>"$work/user/etc/passwd"
  echo 'dev:x:1234:' >>"$work/user/etc/group"
  mkdir -p "$work/user/home/dev"
  chmod 777 "$work/user/home/dev"
  import user "$work/user" 'USER 1234:1234' 'CMD ["sh"]'
}

# An image whose entrypoint ends at once.
make_exits() {
  small "$work/exits"
  import exits "$work/exits" 'ENTRYPOINT ["sh", "-c", "echo this image exits at once; exit 3"]'
}

# An image in which `sleep` is the only program, and nothing else a file.
make_noshell() {
  # what this program is depends on what it is called
  busybox "$work/noshell" sleep
  import noshell "$work/noshell" 'CMD ["sleep", "infinity"]'
}

# What a project's image is like: bash, GNU tools, git, and a Python to serve something with.
make_git() {
  local root="$work/git"
  # all of Perl is for commands of git that nobody has used for long
  unpack "$root" 'perl.*|lib.*-perl|libperl.*|usrmerge|debconf|gcc-12-base|git-man|systemd.*|.*-doc' \
    bash coreutils dash debianutils findutils git grep gzip hostname libc-bin mawk procps python3 sed tar util-linux
  furnish "$root"
  alternatives "$root"
  import git "$root" 'CMD ["bash"]' 'ENV LANG=C.UTF-8'
}

# A PostgreSQL server, used as the well-known image is: POSTGRES_PASSWORD, POSTGRES_USER, POSTGRES_DB, PGDATA.
make_postgres() {
  local root="$work/postgres" program
  # its just-in-time compiler is larger than all the rest, and is left out by the server where it is missing
  unpack "$root" 'perl.*|lib.*-perl|libperl.*|usrmerge|debconf|gcc-12-base|locales|libc-l10n|libllvm.*|libz3.*' \
    bash coreutils dash debianutils findutils grep hostname libc-bin mawk postgresql sed util-linux
  rm -rf "$root"/usr/lib/postgresql/*/lib/{llvmjit*,bitcode} "$root"/usr/share/postgresql/*/man
  furnish "$root"
  alternatives "$root"
  echo 'postgres:x:999:999:postgres:/var/lib/postgresql:/bin/sh' >>"$root/etc/passwd"
  echo 'postgres:x:999:' >>"$root/etc/group"
  mkdir -p "$root/var/lib/postgresql/data"
  # Debian's own psql and friends are scripts of Perl that choose among clusters
  for program in "$root"/usr/lib/postgresql/*/bin/*; do ln -sf "..${program#"$root/usr"}" "$root/usr/bin/"; done
  cat >"$root/usr/bin/docker-entrypoint.sh" <<'ENTRYPOINT'
#!/bin/bash
set -euo pipefail
if [ "$(id -u)" -eq 0 ]; then
  mkdir -p "$PGDATA" /run/postgresql
  chown postgres:postgres "$PGDATA" /run/postgresql
  chmod 700 "$PGDATA"
  exec setpriv --reuid postgres --regid postgres --clear-groups "$0" "$@"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  : "${POSTGRES_PASSWORD:?must be set}" "${POSTGRES_USER:=postgres}" "${POSTGRES_DB:=$POSTGRES_USER}"
  initdb --username "$POSTGRES_USER" --pwfile <(echo "$POSTGRES_PASSWORD") --auth-host scram-sha-256 --auth-local trust \
    --encoding UTF8 --locale C.UTF-8
  echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
  [ "$POSTGRES_DB" = postgres ] || echo "CREATE DATABASE \"$POSTGRES_DB\"" | postgres --single -j -E postgres
fi
exec postgres -c listen_addresses='*' -c unix_socket_directories=/run/postgresql "$@"
ENTRYPOINT
  chmod 755 "$root/usr/bin/docker-entrypoint.sh"
  import postgres "$root" 'ENTRYPOINT ["docker-entrypoint.sh"]' 'ENV PGDATA=/var/lib/postgresql/data' \
    'ENV LANG=C.UTF-8' 'EXPOSE 5432' 'VOLUME /var/lib/postgresql/data'
}

all=(base git postgres noshell exits user)
chosen=("$@")
[ ${#chosen[@]} -gt 0 ] || chosen=("${all[@]}")
for name in "${chosen[@]}"; do
  case " ${all[*]} " in
    *" $name "*) ;;
    *) echo "there is no image $name: there are ${all[*]}" >&2 && exit 1 ;;
  esac
done
"$docker" version --format 'engine {{.Server.Version}}' # says why, where there is none

for name in "${chosen[@]}"; do
  had="$("$docker" image inspect --format '{{index .Config.Labels "sandbox-test.recipe"}}' "sandbox-test/$name:1" \
    2>/dev/null || true)"
  if [ "$had" = "$recipe" ]; then
    echo "sandbox-test/$name:1 is there"
    continue
  fi
  from=$SECONDS
  "make_$name"
  echo "sandbox-test/$name:1 took $((SECONDS - from)) s"
done
# those that these have replaced, unless a container of theirs is still about
"$docker" image prune --force --filter label=sandbox-test.recipe >/dev/null
