// Preloaded into the programs that carry disks between hosts, nbdfuse and qemu-storage-daemon, so that neither gives zeroes for data,
// nor data for zeroes. What is defined here stands before what their libraries call the same.
#pragma once
#include <sys/types.h>

struct nbd_handle;
struct iocb;
struct iovec;

// libnbd's.
int nbd_can_trim(struct nbd_handle *handle);

// libaio's, and the C library's.
int io_submit(void *context, long count, struct iocb **requests);
ssize_t pread64(int fd, void *buffer, size_t count, off_t offset);
ssize_t preadv64(int fd, const struct iovec *vectors, int count, off_t offset);
