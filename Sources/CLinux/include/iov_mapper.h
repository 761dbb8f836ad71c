#pragma once
#include <stdint.h>

// The device mapper's questions and orders, given to an open /dev/mapper/control. Devices go by
// their names. Each answers a negative errno when the kernel refuses; -ENXIO: no such device.

struct iov_mapping {
  // The device is /dev/dm-MINOR.
  uint32_t minor;
  // Of the device's one and only target; without a table all are zero.
  // As `stat` numbers devices.
  uint64_t lower;
  uint64_t start_sectors;
  uint64_t length_sectors;
  int is_linear;
  int read_only;
  // Whether it goes with its last user.
  int goes;
};

// Makes a device that has no table yet.
int iov_mapper_create(int control_fd, const char *name);
// Gives the device a table of one target, which takes effect when it resumes: a part of another device, or one with which
// every request fails.
int iov_mapper_load_linear(int control_fd, const char *name, uint64_t sectors, uint64_t lower, uint64_t start_sectors,
                           int read_only);
int iov_mapper_load_error(int control_fd, const char *name, uint64_t sectors);
// Returns when nothing is under way below any more; what comes then waits until it resumes.
int iov_mapper_suspend(int control_fd, const char *name);
int iov_mapper_resume(int control_fd, const char *name);
// -EBUSY: somebody has it open; `when_closed`: then it goes with its last user, and the answer is 0.
int iov_mapper_remove(int control_fd, const char *name, int when_closed);
int iov_mapper_rename(int control_fd, const char *name, const char *new_name);
int iov_mapper_read(int control_fd, const char *name, struct iov_mapping *mapping);
