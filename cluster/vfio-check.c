// Drives a PCI device through VFIO as a user-space driver or a virtual machine would: container, group, DMA mapping, regions,
// interrupts and reset (Documentation/driver-api/vfio.rst). One line per step; the first that fails ends it.
//
//   vfio-check 0000:02:10.0 [DIRECTORY-FOR-DEVICE-NODES]
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <linux/vfio.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

static void fail(const char *step) {
  fprintf(stderr, "%s: %s\n", step, strerror(errno));
  exit(1);
}

static void require(int holds, const char *step) {
  if (!holds) fail(step);
  printf("ok %s\n", step);
}

// The group's number changes from boot to boot, so it is looked up.
static int open_group(const char *device, const char *directory) {
  char link[PATH_MAX], target[PATH_MAX] = "", path[PATH_MAX];
  snprintf(link, sizeof link, "/sys/bus/pci/devices/%s/iommu_group", device);
  require(readlink(link, target, sizeof target - 1) > 0, "the device is in an IOMMU group");
  snprintf(path, sizeof path, "%s/%s", directory, basename(target));
  int group = open(path, O_RDWR);
  require(group >= 0, "the group's device node opens");
  return group;
}

static void map_memory(int container) {
  size_t size = 2 << 20;
  void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) fail("memory");
  struct vfio_iommu_type1_dma_map map = {
      .argsz = sizeof map, .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
      .vaddr = (uintptr_t)memory, .iova = 1 << 20, .size = size};
  require(!ioctl(container, VFIO_IOMMU_MAP_DMA, &map), "memory is mapped for the device");
  struct vfio_iommu_type1_dma_unmap unmap = {.argsz = sizeof unmap, .iova = map.iova, .size = size};
  require(!ioctl(container, VFIO_IOMMU_UNMAP_DMA, &unmap) && unmap.size == size, "and unmapped");
}

static void read_regions(int device) {
  struct vfio_region_info configuration = {.argsz = sizeof configuration, .index = VFIO_PCI_CONFIG_REGION_INDEX};
  uint16_t identity[2] = {0};
  require(!ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &configuration) && configuration.size >= 256, "configuration space has a region");
  require(pread(device, identity, sizeof identity, configuration.offset) == sizeof identity, "which can be read");
  uint16_t command = 0;
  if (pread(device, &command, sizeof command, configuration.offset + 4) != sizeof command) fail("command register");
  command |= 2;  // memory space: without it BARs do not answer
  if (pwrite(device, &command, sizeof command, configuration.offset + 4) != sizeof command) fail("command register");
  struct vfio_region_info bar = {.argsz = sizeof bar, .index = VFIO_PCI_BAR0_REGION_INDEX};
  require(!ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &bar) && bar.size > 0, "BAR 0 has a region");
  uint32_t word;
  require(pread(device, &word, sizeof word, bar.offset) == sizeof word, "whose registers can be read");
  printf("device %04x:%04x, BAR 0 of %llu bytes, first register %08x\n", identity[0], identity[1],
         (unsigned long long)bar.size, word);
}

static void arm_interrupt(int device) {
  struct vfio_irq_info information = {.argsz = sizeof information, .index = VFIO_PCI_MSIX_IRQ_INDEX};
  require(!ioctl(device, VFIO_DEVICE_GET_IRQ_INFO, &information) && information.count > 0, "it has MSI-X vectors");
  size_t size = sizeof(struct vfio_irq_set) + sizeof(int32_t);
  struct vfio_irq_set *set = calloc(1, size);
  int32_t event = eventfd(0, EFD_CLOEXEC);
  if (!set || event < 0) fail("event");
  *set = (struct vfio_irq_set){.argsz = size, .flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
                               .index = VFIO_PCI_MSIX_IRQ_INDEX, .count = 1};
  memcpy(set->data, &event, sizeof event);
  require(!ioctl(device, VFIO_DEVICE_SET_IRQS, set), "a vector is tied to an event");
  free(set);
}

int main(int count, char **arguments) {
  if (count < 2) {
    fprintf(stderr, "usage: %s PCI-ADDRESS [DIRECTORY]\n", arguments[0]);
    return 64;
  }
  int container = open("/dev/vfio/vfio", O_RDWR);
  require(container >= 0, "the container opens");
  require(ioctl(container, VFIO_GET_API_VERSION) == VFIO_API_VERSION, "its version is known");
  require(ioctl(container, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU) == 1, "it offers a type 1 IOMMU");
  int group = open_group(arguments[1], count > 2 ? arguments[2] : "/dev/vfio");
  struct vfio_group_status status = {.argsz = sizeof status};
  require(!ioctl(group, VFIO_GROUP_GET_STATUS, &status) && status.flags & VFIO_GROUP_FLAGS_VIABLE, "the whole group is given away");
  require(!ioctl(group, VFIO_GROUP_SET_CONTAINER, &container), "the group joins the container");
  require(!ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), "the IOMMU protects it");
  map_memory(container);
  int device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, arguments[1]);
  require(device >= 0, "the device opens");
  struct vfio_device_info information = {.argsz = sizeof information};
  require(!ioctl(device, VFIO_DEVICE_GET_INFO, &information) && information.flags & VFIO_DEVICE_FLAGS_PCI, "it is a PCI device");
  read_regions(device);
  arm_interrupt(device);
  require(information.flags & VFIO_DEVICE_FLAGS_RESET, "it can be reset");
  require(!ioctl(device, VFIO_DEVICE_RESET), "and is");
  return 0;
}
