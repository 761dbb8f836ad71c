#include "iov_nvme.h"

#include <errno.h>
#include <linux/nvme_ioctl.h>
#include <string.h>
#include <sys/ioctl.h>

int iov_nvme_execute(int fd, int is_admin, const struct iov_nvme_command *command, void *data, uint32_t data_length,
                     uint32_t timeout_milliseconds, uint32_t *result) {
  struct nvme_passthru_cmd request;
  memset(&request, 0, sizeof request);
  request.opcode = command->opcode;
  request.nsid = command->namespace_id;
  request.addr = (uint64_t)(uintptr_t)data;
  request.data_len = data_length;
  request.cdw10 = command->words_10_to_15[0];
  request.cdw11 = command->words_10_to_15[1];
  request.cdw12 = command->words_10_to_15[2];
  request.cdw13 = command->words_10_to_15[3];
  request.cdw14 = command->words_10_to_15[4];
  request.cdw15 = command->words_10_to_15[5];
  request.timeout_ms = timeout_milliseconds;
  int status = ioctl(fd, is_admin ? NVME_IOCTL_ADMIN_CMD : NVME_IOCTL_IO_CMD, &request);
  if (status < 0) return -errno;
  *result = request.result;
  return status;
}
