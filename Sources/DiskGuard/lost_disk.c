// A disk that is pulled has no blocks any more for whoever has it open: the kernel makes its size zero, and reads end where they
// begin. QEMU takes that for the end of a file and gives zeroes for what is not there, without an error. So the storage daemon ends as
// soon as it sees its disk gone, before anybody hears what it has read: its clients get errors, and whoever started it knows.
//
// The kernel looks at the size when a read is submitted. One that found none is followed by the look here, by the same thread, and a
// disk that is gone does not come back to what was open: none of its zeroes gets through.
#define _GNU_SOURCE
#include "disk_guard.h"

#include <dlfcn.h>
#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static int (*next_io_submit)(void *, long, struct iocb **);
static ssize_t (*next_pread64)(int, void *, size_t, off_t);
static ssize_t (*next_preadv64)(int, const struct iovec *, int, off_t);

static void *next(const char *name) { return dlsym(RTLD_NEXT, name); }

__attribute__((constructor)) static void find_what_is_called(void) {
  next_io_submit = (int (*)(void *, long, struct iocb **))next("io_submit");
  next_pread64 = (ssize_t (*)(int, void *, size_t, off_t))next("pread64");
  next_preadv64 = (ssize_t (*)(int, const struct iovec *, int, off_t))next("preadv64");
}

static void end_if_lost(int fd) {
  static const char news[] = "The disk is gone: it was pulled, or taken away.\n";
  uint64_t size;
  // Anything but a block device does not know the question.
  if (ioctl(fd, BLKGETSIZE64, &size) != 0 || size > 0) return;
  ssize_t written = write(STDERR_FILENO, news, strlen(news));
  (void)written;
  _exit(1);
}

int io_submit(void *context, long count, struct iocb **requests) {
  int result = next_io_submit(context, count, requests);
  for (long index = 0; index < count; index++) {
    // All of a daemon's are for one disk, as a rule.
    if (index == 0 || requests[index]->aio_fildes != requests[index - 1]->aio_fildes) {
      end_if_lost((int)requests[index]->aio_fildes);
    }
  }
  return result;
}

ssize_t pread64(int fd, void *buffer, size_t count, off_t offset) {
  ssize_t result = next_pread64(fd, buffer, count, offset);
  if (result == 0 && count > 0) end_if_lost(fd);
  return result;
}

ssize_t preadv64(int fd, const struct iovec *vectors, int count, off_t offset) {
  ssize_t result = next_preadv64(fd, vectors, count, offset);
  if (result == 0 && count > 0) end_if_lost(fd);
  return result;
}
