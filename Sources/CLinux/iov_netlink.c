#define _GNU_SOURCE
#include "iov_netlink.h"

#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <linux/magic.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/vfs.h>
#include <unistd.h>

int iov_enter_network_namespace(int descriptor) { return setns(descriptor, CLONE_NEWNET); }

int iov_new_network_namespace(void) { return unshare(CLONE_NEWNET); }

int iov_pin_network_namespace(const char *path) {
  return mount("/proc/thread-self/ns/net", path, "none", MS_BIND, NULL);
}

int iov_unpin_network_namespace(const char *path) { return umount2(path, MNT_DETACH); }

int iov_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC); }

int iov_is_namespace(int descriptor) {
  struct statfs status;
  return fstatfs(descriptor, &status) == 0 && status.f_type == NSFS_MAGIC;
}

static int ethtool(int socket, const char *name, void *command) {
  struct ifreq request;
  memset(&request, 0, sizeof request);
  strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  request.ifr_data = command;
  return ioctl(socket, SIOCETHTOOL, &request);
}

uint32_t iov_interface_speed_megabits(int socket, const char *name) {
  struct ethtool_cmd command;
  memset(&command, 0, sizeof command);
  command.cmd = ETHTOOL_GSET;
  if (ethtool(socket, name, &command) != 0) return 0;
  uint32_t speed = ethtool_cmd_speed(&command);
  return speed == (uint32_t)SPEED_UNKNOWN || speed == UINT16_MAX ? 0 : speed;
}

int iov_interface_driver(int socket, const char *name, char *driver, size_t capacity) {
  struct ethtool_drvinfo info;
  memset(&info, 0, sizeof info);
  info.cmd = ETHTOOL_GDRVINFO;
  if (ethtool(socket, name, &info) != 0) return -1;
  info.driver[sizeof info.driver - 1] = 0;
  strncpy(driver, info.driver, capacity - 1);
  driver[capacity - 1] = 0;
  return 0;
}
