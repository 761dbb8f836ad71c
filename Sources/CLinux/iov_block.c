#define _GNU_SOURCE
#include "iov_block.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <string.h>
#include <sys/ioctl.h>

int iov_read_block_facts(int fd, struct iov_block_facts *facts) {
  int logical = 0, read_only = 0;
  unsigned physical = 0;
  if (ioctl(fd, BLKGETSIZE64, &facts->size_bytes) < 0) return -errno;
  if (ioctl(fd, BLKSSZGET, &logical) < 0) return -errno;
  if (ioctl(fd, BLKPBSZGET, &physical) < 0) return -errno;
  if (ioctl(fd, BLKROGET, &read_only) < 0) return -errno;
  facts->logical_sector_bytes = (uint32_t)logical;
  facts->physical_sector_bytes = physical;
  facts->read_only = read_only;
  return 0;
}

int iov_block_discard(int fd, uint64_t offset, uint64_t length) {
  uint64_t range[2] = {offset, length};
  return ioctl(fd, BLKDISCARD, range) < 0 ? -errno : 0;
}

int iov_block_write_zeroes(int fd, uint64_t offset, uint64_t length) {
  uint64_t range[2] = {offset, length};
  return ioctl(fd, BLKZEROOUT, range) < 0 ? -errno : 0;
}

int iov_block_flush_buffers(int fd) { return ioctl(fd, BLKFLSBUF, 0) < 0 ? -errno : 0; }

int iov_punch_hole(int fd, uint64_t offset, uint64_t length) {
  int result = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)length);
  return result < 0 ? -errno : 0;
}

int iov_loop_free_number(int control_fd) {
  int number = ioctl(control_fd, LOOP_CTL_GET_FREE);
  return number < 0 ? -errno : number;
}

int iov_loop_configure(int fd, int backing_fd, uint64_t offset, uint64_t size_limit, uint32_t block_size, int read_only,
                       int direct_io, const char *name) {
  struct loop_config config;
  memset(&config, 0, sizeof config);
  config.fd = (uint32_t)backing_fd;
  config.block_size = block_size;
  config.info.lo_offset = offset;
  config.info.lo_sizelimit = size_limit;
  config.info.lo_flags = (read_only ? LO_FLAGS_READ_ONLY : 0) | (direct_io ? LO_FLAGS_DIRECT_IO : 0);
  strncpy((char *)config.info.lo_file_name, name, LO_NAME_SIZE - 1);
  return ioctl(fd, LOOP_CONFIGURE, &config) < 0 ? -errno : 0;
}

int iov_read_loop_status(int fd, struct iov_loop_status *status) {
  struct loop_info64 info;
  if (ioctl(fd, LOOP_GET_STATUS64, &info) < 0) return -errno;
  status->backing_device = info.lo_device;
  status->backing_inode = info.lo_inode;
  status->offset_bytes = info.lo_offset;
  status->size_limit_bytes = info.lo_sizelimit;
  status->read_only = (info.lo_flags & LO_FLAGS_READ_ONLY) != 0;
  status->direct_io = (info.lo_flags & LO_FLAGS_DIRECT_IO) != 0;
  return 0;
}

int iov_loop_cut(int fd) {
  struct loop_info64 info;
  if (ioctl(fd, LOOP_GET_STATUS64, &info) < 0) return -errno;
  // Beyond any disk, and far enough from the largest offset that no position in the extent overflows.
  info.lo_offset = 1ull << 62;
  info.lo_flags |= LO_FLAGS_AUTOCLEAR;
  return ioctl(fd, LOOP_SET_STATUS64, &info) < 0 ? -errno : 0;
}

int iov_loop_clear(int fd) { return ioctl(fd, LOOP_CLR_FD) < 0 ? -errno : 0; }
