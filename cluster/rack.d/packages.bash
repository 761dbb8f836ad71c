# Debian packages for the emulated rack, unpacked into the cache: QEMU, a kernel, and what runs in the guests. The machine's
# own packages and sources stay as they are, and what apt chooses does not depend on them.

# Before Debian 13, QEMU is too old to emulate igb, and the kernel is not the one that was tried: both come from backports.
suite() {
  (
    . /etc/os-release
    if ((VERSION_ID < 13)); then echo "$VERSION_CODENAME-backports"; else echo "$VERSION_CODENAME"; fi
  )
}

# Sources with the machine's own mirror, and the suite above from the same one.
sources() {
  local codename suite signed= name=/usr/share/keyrings/debian-archive-keyring.gpg
  codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
  suite=$(suite)
  [[ ! -r $name ]] || signed="[signed-by=$name] "
  # A source may name the release by its codename or as "stable", for which the codename is known once its list was fetched.
  apt-get indextargets --format '$(COMPONENT) $(REPO_URI) $(RELEASE) $(CODENAME)' 'Created-By: Packages' |
    awk -v codename="$codename" -v suite="$suite" -v signed="$signed" '
      function offers(name) { return $3 == name || $4 == name }
      function source(name) { if (!seen[name]++) print "deb " signed $2 " " name " main" }
      $1 != "main" { next }
      offers(codename) { source($3); if (suite != codename) source(suite) }
      offers(codename "-updates") || offers(codename "-security") { source($3) }'
}

# An apt that believes in an empty machine, so that it names everything that is needed: with_apt COMMAND...
with_apt() { APT_CONFIG=$cache/apt/configuration "$@"; }
make_apt() {
  local directory=$cache/apt
  rm -rf "$directory"
  mkdir -p "$directory"/{lists,archives}/partial
  : >"$directory/status"
  sources >"$directory/sources.list"
  [[ -s $directory/sources.list ]] || cannot "no source of this machine's apt offers its own Debian release: see 'apt-get indextargets'"
  cat >"$directory/configuration" <<END
Dir::State::status "$directory/status";
Dir::State::lists "$directory/lists";
Dir::Cache::archives "$directory/archives";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Dir::Etc::sourcelist "$directory/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
APT::Sandbox::User "root";
APT::Install-Recommends "false";
APT::Default-Release "$(suite)";
Acquire::Languages "none";
END
  with_apt apt-get -qq update >&2 || cannot "apt-get could not read the lists of $(suite)"
}

unpack() {
  local directory=$1 archive
  shift
  for archive; do dpkg-deb --fsys-tarfile "$archive" | tar -C "$directory" -xf - --keep-directory-symlink; done
}

# What the guests run and what runs the guests, as one tree of a Debian system.
make_tree() {
  local tree=$1 packages=("${emulated_rack_packages[@]}") directory
  say "fetching packages of $(suite)"
  make_apt
  # nbdfuse changed its package between releases.
  if [[ $(with_apt apt-cache show nbdfuse 2>/dev/null) ]]; then packages+=(nbdfuse); else packages+=(libnbd-bin); fi
  with_apt apt-get -y -qq --download-only install "${packages[@]}" >&2 ||
    cannot "apt-get could not fetch from $(suite): ${packages[*]}"
  mkdir -p "$tree"/usr/{bin,sbin,lib,lib64}
  for directory in bin sbin lib lib64; do ln -s "usr/$directory" "$tree/$directory"; done
  unpack "$tree" "$cache"/apt/archives/*.deb
  rm -rf "$cache/apt"
}

# A kernel package's parts: vmlinux, which QEMU starts a second sooner than the compressed kernel, and its modules.
make_kernel() {
  local kernel=$1 package
  make_apt
  package=$(with_apt apt-cache show "linux-image-amd64/$(suite)" | sed -n 's/^Depends: \(linux-image-[^ ,]*\).*/\1/p' | head -1)
  [[ $package ]] || fail "$(suite) has no linux-image-amd64"
  say "fetching $package"
  mkdir -p "$kernel/package"
  (cd "$kernel" && with_apt apt-get -qq download "$package" >&2) || cannot "apt-get could not fetch $package"
  unpack "$kernel/package" "$kernel"/*.deb
  extract_kernel "$kernel"/package/boot/vmlinuz-* | from_tree zstd -dcq >"$kernel/vmlinux"
  rm -rf "$kernel"/*.deb "$cache/apt"
}

# The compressed part of a bzImage: where it lies, its header says (Documentation/arch/x86/boot.rst: setup_sects,
# payload_offset, payload_length). Its last four bytes are not of the compressed stream.
extract_kernel() {
  local sectors offset length
  sectors=$(od -An -tu1 -j $((0x1f1)) -N 1 "$1")
  offset=$(od -An -tu4 -j $((0x248)) -N 4 "$1")
  length=$(od -An -tu4 -j $((0x24c)) -N 4 "$1")
  dd if="$1" bs=1M iflag=skip_bytes,count_bytes skip=$(((sectors + 1) * 512 + offset)) count=$((length - 4)) status=none
}

# A program of the tree, run here with the tree's own libraries: from_tree PROGRAM ARGUMENT...
from_tree() {
  local program=$1
  shift
  "$tree/lib64/ld-linux-x86-64.so.2" --library-path "$tree/usr/lib/x86_64-linux-gnu" --argv0 "$program" \
    "$(tree_program "$program")" "$@"
}
# Where it lies; links in the tree mean the tree, also absolute ones.
tree_program() {
  local path=$tree/usr/bin/$1 target
  [[ -e $path || -L $path ]] || path=$tree/usr/sbin/$1
  while [[ -L $path ]]; do
    target=$(readlink "$path")
    if [[ $target == /* ]]; then path=$tree$target; else path=${path%/*}/$target; fi
  done
  [[ -x $path ]] || fail "the packages of the emulated rack bring no $1"
  echo "$path"
}
