// Preloaded into a program, counts its allocations: the number stands in the first eight bytes of the file that
// ALLOCATION_COUNTER names, and can be read while the program runs.
//
//   cc -shared -fPIC -O2 -o allocation-counter.so allocation-counter.c
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

// glibc's own, under the names that are left when malloc is replaced.
void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);

static _Atomic uint64_t before_there_is_a_file;
static _Atomic uint64_t *counter = &before_there_is_a_file;

__attribute__((constructor)) static void open_counter(void) {
  const char *path = getenv("ALLOCATION_COUNTER");
  if (!path) return;
  int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (file < 0 || ftruncate(file, sizeof *counter) != 0) abort();
  void *mapped = mmap(NULL, sizeof *counter, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  if (mapped == MAP_FAILED) abort();
  counter = mapped;
}

void *malloc(size_t size) {
  ++*counter;
  return __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
  ++*counter;
  return __libc_calloc(count, size);
}

// Growing may move: it counts as another.
void *realloc(void *old, size_t size) {
  ++*counter;
  return __libc_realloc(old, size);
}

void *memalign(size_t alignment, size_t size) {
  ++*counter;
  return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }

int posix_memalign(void **result, size_t alignment, size_t size) {
  void *made = memalign(alignment, size);
  if (!made) return ENOMEM;
  *result = made;
  return 0;
}
