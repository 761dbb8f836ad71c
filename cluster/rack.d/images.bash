# What the guests start from: an initramfs that finds the disks, a Debian system, and this checkout's programs.

# Drivers and subsystems that the guests need, as directories of the kernel's modules.
readonly guest_modules=(
  arch block crypto lib net virt fs/{autofs,configfs,ext4,fuse,jbd2,nls,overlayfs} fs/mbcache.ko.xz
  drivers/{ata,block,dax,dca,i2c,iommu,md,message,nvme,pps,ptp,scsi,target,uio,vdpa,vfio,vhost,virtio,watchdog}
  drivers/net/{bonding,ipvlan,macvlan.ko.xz,macvtap.ko.xz,tap.ko.xz,tun.ko.xz,veth.ko.xz,vrf.ko.xz,vxlan,dummy.ko.xz,ifb.ko.xz}
  drivers/net/{net_failover.ko.xz,virtio_net.ko.xz,ethernet/intel} drivers/{acpi,cdrom,char}
)
# In the order in which the initramfs loads them, with what they need.
readonly first_modules=(virtio_blk ext4 overlay)

# Modules unpacked and without signatures: decompressing and checking take the guests longer than reading.
copy_modules() {
  local root=$1 kernel=$2 from to directory
  from=$(echo "$kernel"/package/{,usr/}lib/modules/*)
  to=$root/usr/lib/modules/${from##*/}
  mkdir -p "$to"
  cp "$from"/modules.* "$to/"
  for directory in "${guest_modules[@]}"; do
    [[ ! -e $from/kernel/$directory ]] || (cd "$from" && cp -a --parents "kernel/$directory" "$to/")
  done
  find "$to" -name '*.ko.xz' -print0 | xargs -0 xz -d
  find "$to" -name '*.ko' -print0 | xargs -0 -n 200 strip --strip-debug
  from_tree depmod -b "$root/usr" "${from##*/}"
}

make_root_image() {
  local image=$1 kernel=$2 root=$1.root
  say "making the guests' system"
  rm -rf "$root"
  cp -al "$tree" "$root"
  rm -rf "$root"/usr/share/{doc,man,locale,info,qemu,seabios,perl,perl5,iso-codes,alsa} "$root"/usr/lib/{ipxe,git-core,systemd,udev} \
    "$root"/usr/lib/x86_64-linux-gnu/{perl,perl-base,gconv,qemu} "$root"/usr/lib/x86_64-linux-gnu/libperl* \
    "$root"/usr/bin/{qemu-system-*,perl*} "$root"/{boot,var/cache}
  copy_modules "$root" "$kernel"
  ln -s gawk "$root/usr/bin/awk"
  mkdir -p "$root"/{iov,proc,sys,dev,run,tmp,root,var/lib/iov,etc/iov}
  printf '127.0.0.1 localhost\n' >"$root/etc/hosts"
  printf 'root:x:0:0:root:/root:/bin/bash\n' >"$root/etc/passwd"
  printf 'root:x:0:\ndisk:x:6:\n' >"$root/etc/group"
  make_file_system "$image" "$root" 64 -O ^has_journal
  rm -rf "$root"
}

# An ext4 image of a directory with some MiB to spare: make_file_system IMAGE DIRECTORY SPARE OPTION...
make_file_system() {
  local image=$1 directory=$2 spare=$3
  shift 3
  truncate -s $(($(du -sm "$directory" | cut -f 1) * 11 / 10 + spare))M "$image"
  from_tree mke2fs -q -t ext4 -E root_owner=0:0 -d "$directory" "$@" "$image" >&2
}

make_initramfs() {
  local image=$1 kernel=$2 files=$1.files modules version module path
  rm -rf "$files"
  mkdir -p "$files"/{bin,dev,proc,sys,modules,system,top,root}
  cp "$tree/bin/busybox" "$files/bin/"
  cp "$parts/guest/init" "$files/init"
  modules=$1.modules
  copy_modules "$modules" "$kernel"
  version=$(echo "$modules"/usr/lib/modules/*)
  version=${version##*/}
  for module in "${first_modules[@]}"; do
    from_tree modprobe -d "$modules/usr" -S "$version" --show-depends "$module" | awk '$1 == "insmod" {print $2}'
  done | awk '!seen[$0]++' | while read -r path; do
    cp "$path" "$files/modules/"
    echo "${path##*/}" >>"$files/modules/order"
  done
  rm -rf "$modules"
  (cd "$files" && find . | "$tree/bin/busybox" cpio -o -H newc 2>/dev/null) >"$image"
  rm -rf "$files"
}

# This checkout's part: the product's programs, stripped, test programs, and what the guests' first process runs.
make_programs() {
  local directory=$1 files=$1/files program
  mkdir -p "$files"
  for program in "${guest_programs[@]}" "$guest_library"; do strip -o "$files/$program" "$programs/$program"; done
  for program in "${test_programs[@]}"; do gcc -O2 -Wall -Werror -static -o "$files/$program" "$cluster_directory/$program.c"; done
  cp "$parts"/guest/{boot,node,shelf,path,commands,names} "$files/"
  # The guest compares both before it uses any: the sizes of what it has, and that it is what was made here. Reading all of it for
  # that would take it three seconds.
  (cd "$files" && md5sum -- * && stat -c '%s %n' -- * >sizes) >"$directory/checksums"
  cp "$directory/checksums" "$files/"
  make_file_system "$directory/image" "$files" 8 -O ^has_journal
  rm -rf "$files"
}
# Classes of devices that the nodes' agents have plugins for, with configurations of the same names beside agent.yaml.
readonly device_classes=(ethernet sata sas nvme)
readonly guest_programs=(iov iov-agent iov-nbd-client "${device_classes[@]/#/iov-plugin-}")
# What the plugins of disks need beside them.
readonly guest_library=libiov-disk-guard.so
readonly test_programs=(vfio-check stamps)

# Sets tree, kernel, root_image, initramfs and programs_made to what is in the cache, after making what is not.
prepare_images() {
  [[ -r $programs/$guest_library ]] || fail "$programs has no $guest_library: swift build -c release --product iov-disk-guard"
  mkdir -p "$cache"
  exec {cache_lock}>"$cache/lock"
  flock "$cache_lock"
  local packages_key root_key
  packages_key=$(key_of "$(sources)" "${emulated_rack_packages[@]}" "$(declare -f make_tree make_kernel unpack extract_kernel)")
  tree=$(made "tree-$packages_key" make_tree)
  kernel=$(made "kernel-$packages_key" make_kernel)
  root_key=$(key_of "$packages_key" "${guest_modules[@]}" "$(declare -f make_root_image copy_modules make_file_system)")
  root_image=$(made "root-$root_key" make_root_image "$kernel")
  initramfs=$(made "initramfs-$(key_of "$root_key" "${first_modules[@]}" "$(<"$parts/guest/init")" "$(declare -f make_initramfs)")" \
    make_initramfs "$kernel")
  programs_made=$(made "programs-$(programs_key)" make_programs)
  exec {cache_lock}>&-
}

programs_key() {
  key_of "$(cd "$programs" && sha256sum "${guest_programs[@]}" "$guest_library")" "$(cd "$cluster_directory" && sha256sum "${test_programs[@]/%/.c}" rack.d/guest/* | cut -c -64)" \
    "$(declare -f make_programs make_file_system)"
}
