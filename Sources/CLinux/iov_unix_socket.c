#define _GNU_SOURCE
#include "iov_unix_socket.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

static int address_of(const char *path, struct sockaddr_un *address) {
  memset(address, 0, sizeof *address);
  address->sun_family = AF_UNIX;
  if (strlen(path) >= sizeof address->sun_path) return -ENAMETOOLONG;
  strcpy(address->sun_path, path);
  return 0;
}

static int failed(int fd) {
  int error = -errno;
  close(fd);
  return error;
}

int iov_unix_listen(const char *path) {
  struct sockaddr_un address;
  int error = address_of(path, &address);
  if (error) return error;
  if (unlink(path) < 0 && errno != ENOENT) return -errno;
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0) return failed(fd);
  if (chmod(path, 0600) < 0 || listen(fd, 4) < 0) return failed(fd);
  return fd;
}

int iov_unix_connect(const char *path, int timeout_milliseconds) {
  struct sockaddr_un address;
  int error = address_of(path, &address);
  if (error) return error;
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  struct timeval limit = {timeout_milliseconds / 1000, timeout_milliseconds % 1000 * 1000};
  if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) < 0) return failed(fd);
  if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) < 0) return failed(fd);
  if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) return failed(fd);
  return fd;
}
