#define _GNU_SOURCE
#include "iov_netlink.h"

#include <errno.h>
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

int iov_read_driver_details(int socket, const char *name, struct iov_driver_details *details) {
  struct ethtool_drvinfo info;
  memset(&info, 0, sizeof info);
  info.cmd = ETHTOOL_GDRVINFO;
  if (ethtool(socket, name, &info) != 0) return -1;
  memset(details, 0, sizeof *details);
  memcpy(details->driver, info.driver, sizeof info.driver);
  memcpy(details->firmware_version, info.fw_version, sizeof info.fw_version);
  memcpy(details->bus_address, info.bus_info, sizeof info.bus_info);
  return 0;
}

int iov_read_permanent_address(int socket, const char *name, uint8_t address[6]) {
  // The address follows the header, which ends in an array of no size.
  union {
    struct ethtool_perm_addr header;
    uint8_t bytes[sizeof(struct ethtool_perm_addr) + 32];
  } answer;
  memset(&answer, 0, sizeof answer);
  answer.header.cmd = ETHTOOL_GPERMADDR;
  answer.header.size = 32;
  if (ethtool(socket, name, &answer) != 0) return -1;
  if (answer.header.size != 6) return errno = ENODATA, -1;
  memcpy(address, answer.header.data, 6);
  return 0;
}
