#pragma once
#include <stdint.h>

struct iov_block_facts {
  uint64_t size_bytes;
  uint32_t logical_sector_bytes;
  uint32_t physical_sector_bytes;
  int read_only;
};

// Of an open block device.
int iov_read_block_facts(int fd, struct iov_block_facts *facts);
// Both extents are multiples of the logical sector size.
int iov_block_discard(int fd, uint64_t offset, uint64_t length);
int iov_block_write_zeroes(int fd, uint64_t offset, uint64_t length);
int iov_block_flush_buffers(int fd);
// Of a file, too. What is in there is given back and reads as zeroes; -EOPNOTSUPP: whoever is behind it makes no holes.
int iov_punch_hole(int fd, uint64_t offset, uint64_t length);

struct iov_loop_status {
  uint64_t backing_device;
  uint64_t backing_inode;
  uint64_t offset_bytes;
  uint64_t size_limit_bytes;
  int read_only;
  int direct_io;
};

// A free loop device's number, from /dev/loop-control.
int iov_loop_free_number(int control_fd);
// Attaches an extent in one call, so that no half-configured device is ever seen. -EBUSY: the device was taken.
int iov_loop_configure(int fd, int backing_fd, uint64_t offset, uint64_t size_limit, uint32_t block_size, int read_only,
                       int direct_io, const char *name);
// -ENXIO: nothing is attached.
int iov_read_loop_status(int fd, struct iov_loop_status *status);
// Detaches. A device that others hold open, too, goes when the last of them lets go (the kernel sets its autoclear flag).
int iov_loop_clear(int fd);
// Moves the device's extent past the end of whatever is behind it, so that it has no size and every request fails, whoever
// holds it open; and lets it go with its last user. Returns when no earlier request is under way any more.
int iov_loop_cut(int fd);

// A listening TCP socket at an address ("192.0.2.1" or an IPv6 one) that drops everything that does not come from `peer`
// before the kernel answers it. `port` is the one that is wanted, zero for any, and becomes the one that it is.
int iov_listen_for_peer(const char *address, const char *peer, uint16_t *port);
