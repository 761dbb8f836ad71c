#define _GNU_SOURCE
#include "iov_mapper.h"

#include <errno.h>
#include <linux/dm-ioctl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

// One order or question with room for one target and its parameters, as the kernel wants it: all in one piece.
struct message {
  struct dm_ioctl head;
  struct dm_target_spec target;
  char parameters[256];
};

static void address(struct message *message, const char *name, uint32_t flags) {
  memset(message, 0, sizeof *message);
  message->head.version[0] = DM_VERSION_MAJOR;
  message->head.data_size = sizeof *message;
  message->head.data_start = sizeof message->head;
  message->head.flags = flags;
  snprintf(message->head.name, sizeof message->head.name, "%s", name);
}

static int send(int control_fd, unsigned long request, struct message *message) {
  return ioctl(control_fd, request, message) < 0 ? -errno : 0;
}

int iov_mapper_create(int control_fd, const char *name) {
  struct message message;
  address(&message, name, 0);
  return send(control_fd, DM_DEV_CREATE, &message);
}

static void set_target(struct message *message, uint64_t sectors, const char *type) {
  message->head.target_count = 1;
  message->target.length = sectors;
  snprintf(message->target.target_type, sizeof message->target.target_type, "%s", type);
}

int iov_mapper_load_linear(int control_fd, const char *name, uint64_t sectors, uint64_t lower, uint64_t start_sectors,
                           int read_only) {
  struct message message;
  address(&message, name, read_only ? DM_READONLY_FLAG : 0);
  set_target(&message, sectors, "linear");
  snprintf(message.parameters, sizeof message.parameters, "%u:%u %llu", major(lower), minor(lower),
           (unsigned long long)start_sectors);
  return send(control_fd, DM_TABLE_LOAD, &message);
}

int iov_mapper_load_error(int control_fd, const char *name, uint64_t sectors) {
  struct message message;
  address(&message, name, 0);
  set_target(&message, sectors, "error");
  return send(control_fd, DM_TABLE_LOAD, &message);
}

int iov_mapper_suspend(int control_fd, const char *name) {
  struct message message;
  // A file system on it is not asked to settle: it may not be able to, and is not to keep the device.
  address(&message, name, DM_SUSPEND_FLAG | DM_NOFLUSH_FLAG | DM_SKIP_LOCKFS_FLAG);
  return send(control_fd, DM_DEV_SUSPEND, &message);
}

int iov_mapper_resume(int control_fd, const char *name) {
  struct message message;
  address(&message, name, 0);
  return send(control_fd, DM_DEV_SUSPEND, &message);
}

int iov_mapper_remove(int control_fd, const char *name, int when_closed) {
  struct message message;
  address(&message, name, when_closed ? DM_DEFERRED_REMOVE : 0);
  return send(control_fd, DM_DEV_REMOVE, &message);
}

int iov_mapper_rename(int control_fd, const char *name, const char *new_name) {
  struct message message;
  if (strlen(new_name) >= sizeof message.parameters) return -EINVAL;
  address(&message, name, 0);
  // The new name lies where a target's description would.
  message.head.data_start = offsetof(struct message, parameters);
  strcpy(message.parameters, new_name);
  return send(control_fd, DM_DEV_RENAME, &message);
}

int iov_mapper_read(int control_fd, const char *name, struct iov_mapping *mapping) {
  struct message message;
  address(&message, name, DM_STATUS_TABLE_FLAG);
  int error = send(control_fd, DM_TABLE_STATUS, &message);
  if (error) return error;
  memset(mapping, 0, sizeof *mapping);
  mapping->minor = minor(message.head.dev);
  mapping->read_only = (message.head.flags & DM_READONLY_FLAG) != 0;
  mapping->goes = (message.head.flags & DM_DEFERRED_REMOVE) != 0;
  if (message.head.target_count != 1) return 0;
  mapping->length_sectors = message.target.length;
  unsigned lower_major, lower_minor;
  unsigned long long start;
  if (strcmp(message.target.target_type, "linear") != 0) return 0;
  message.parameters[sizeof message.parameters - 1] = 0;
  if (sscanf(message.parameters, "%u:%u %llu", &lower_major, &lower_minor, &start) != 3) return -EBADMSG;
  mapping->is_linear = 1;
  mapping->lower = makedev(lower_major, lower_minor);
  mapping->start_sectors = start;
  return 0;
}
