// Writes blocks that say by whom and in which order they were written, and finds out afterwards which of them a device has. What a
// fence is worth is seen from this: nothing acknowledged is lost, and nothing arrives after it.
//
//   stamps write DEVICE --token TEXT [--log FILE] [--seed N] [--blocks N] [--count N]
//     writes stamped blocks as fast as it can, past the page cache, one after the other in an order that the seed decides, until a
//     write fails or, with --count, that many are written. The log (else standard output) has a line for each acknowledged write:
//     `ack SEQUENCE BLOCK CLOCK`, and at the end what ended it. Exit code 1: a write failed.
//   stamps check DEVICE [--blocks N] [--log FILE]... [--nothing-above TOKEN SEQUENCE]...
//     reads all of the device, or its first blocks, and prints what it found, and as lines that begin with WRONG what should not be: torn blocks,
//     acknowledged writes of a log that are not there, stamps of a token above a sequence. Logs are given in the order in which
//     their writers held the device. The device may be larger than the one that was written: a token's blocks may begin anywhere.
//     Exit code 1: something is wrong; 2: it could not be read.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { block_bytes = 4096, block_words = block_bytes / 8, token_bytes = 64, blocks_at_once = 256, told_at_most = 5 };

// All of it is under the checksum, the filling as well: a block of which half was written is torn, and is seen to be.
struct stamp {
  uint64_t magic, sequence, block;
  char token[token_bytes];
  uint64_t filling[block_words - 4 - token_bytes / 8];
  uint64_t checksum;
};
_Static_assert(sizeof(struct stamp) == block_bytes, "a stamp fills a block");
static const uint64_t magic = 0x504d415453564f49;  // "IOVSTAMP"

static void fail(int code, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fputc('\n', stderr);
  exit(code);
}

static void *memory(size_t bytes) {
  void *made = NULL;
  if (posix_memalign(&made, block_bytes, bytes ? bytes : 1)) fail(2, "no memory for %zu bytes", bytes);
  memset(made, 0, bytes);
  return made;
}

// splitmix64: short, and every seed is as good as any other.
static uint64_t random_from(uint64_t *state) {
  uint64_t word = *state += 0x9e3779b97f4a7c15;
  word = (word ^ word >> 30) * 0xbf58476d1ce4e5b9;
  word = (word ^ word >> 27) * 0x94d049bb133111eb;
  return word ^ word >> 31;
}

static uint64_t checksum_of(const struct stamp *stamp) {
  const uint64_t *words = (const uint64_t *)stamp;
  uint64_t sum = 0xcbf29ce484222325;
  for (int index = 0; index < block_words - 1; index++) {
    sum = (sum ^ words[index]) * 0x100000001b3;
    sum ^= sum >> 29;
  }
  return sum;
}

static uint64_t number(const char *text, const char *what) {
  char *end = NULL;
  errno = 0;
  uint64_t value = strtoull(text, &end, 10);
  if (errno || end == text || *end || *text == '-') fail(64, "%s is a number, not '%s'", what, text);
  return value;
}

static uint64_t blocks_of(int device, const char *name) {
  off_t bytes = lseek(device, 0, SEEK_END);
  if (bytes < 0) fail(2, "%s: its size: %s", name, strerror(errno));
  return (uint64_t)bytes / block_bytes;
}

static double clock_now(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

// The writer.

struct writer {
  const char *device, *token, *log;
  uint64_t seed, blocks, count;
};

// A new order of all blocks for every round of them (Fisher and Yates).
static void shuffle(uint32_t *order, uint64_t blocks, uint64_t seed) {
  for (uint64_t index = 0; index < blocks; index++) order[index] = (uint32_t)index;
  for (uint64_t left = blocks; left > 1; left--) {
    uint64_t other = random_from(&seed) % left;
    uint32_t moved = order[left - 1];
    order[left - 1] = order[other];
    order[other] = moved;
  }
}

static void fill(struct stamp *stamp, const char *token, uint64_t sequence, uint64_t block) {
  *stamp = (struct stamp){.magic = magic, .sequence = sequence, .block = block};
  memcpy(stamp->token, token, strlen(token));
  uint64_t state = sequence ^ block << 32;
  for (size_t index = 0; index < sizeof stamp->filling / 8; index++) stamp->filling[index] = random_from(&state);
  stamp->checksum = checksum_of(stamp);
}

static int write_stamps(const struct writer *writer) {
  int device = open(writer->device, O_WRONLY | O_DIRECT | O_SYNC);
  if (device < 0) fail(2, "%s: %s", writer->device, strerror(errno));
  uint64_t blocks = blocks_of(device, writer->device);
  if (writer->blocks && writer->blocks < blocks) blocks = writer->blocks;
  if (!blocks || blocks > UINT32_MAX) fail(2, "%s has %" PRIu64 " blocks of %d bytes", writer->device, blocks, block_bytes);
  FILE *log = writer->log ? fopen(writer->log, "w") : stdout;
  if (!log) fail(2, "%s: %s", writer->log, strerror(errno));
  setvbuf(log, NULL, _IOLBF, 0);  // what is acknowledged is in the log, however this process ends

  uint32_t *order = memory(blocks * sizeof *order);
  struct stamp *stamp = memory(sizeof *stamp);
  fprintf(log, "token %s\n", writer->token);
  double longest = 0, acknowledged_at = clock_now(CLOCK_BOOTTIME);
  for (uint64_t sequence = 1; !writer->count || sequence <= writer->count; sequence++) {
    uint64_t index = (sequence - 1) % blocks;
    if (!index) shuffle(order, blocks, writer->seed + sequence);
    fill(stamp, writer->token, sequence, order[index]);
    ssize_t written = pwrite(device, stamp, sizeof *stamp, (off_t)order[index] * block_bytes);
    int error = written < 0 ? errno : ENOSPC;
    double now = clock_now(CLOCK_BOOTTIME), wait = now - acknowledged_at;
    if (wait > longest) longest = wait;
    if (written != sizeof *stamp) {
      fprintf(log, "failed %" PRIu64 " %" PRIu32 " %.6f %s (%s)\n", sequence, order[index], clock_now(CLOCK_REALTIME), strerrorname_np(error), strerror(error));
      printf("write %" PRIu64 " of token %s failed with %s (%s) after %.3f s; the last acknowledged is %" PRIu64 "; the longest wait was %.3f s\n",
             sequence, writer->token, strerrorname_np(error), strerror(error), wait, sequence - 1, longest);
      return 1;
    }
    acknowledged_at = now;
    fprintf(log, "ack %" PRIu64 " %" PRIu32 " %.6f\n", sequence, order[index], clock_now(CLOCK_REALTIME));
  }
  fprintf(log, "done\n");
  printf("%" PRIu64 " writes of token %s are acknowledged; the longest wait was %.3f s\n", writer->count, writer->token, longest);
  return 0;
}

// The checker.

enum content { empty, stamped, torn, foreign };

struct place {
  enum content content;
  uint32_t token;  // which of the tokens
  uint64_t sequence;
};

struct token {
  char text[token_bytes];
  uint64_t blocks, lowest, highest, begin;  // begin: where block 0 of its writer lies
};

struct device {
  const char *name;
  uint64_t blocks, counts[4];
  struct place *places;
  struct token *tokens;
  uint32_t token_count;
};

static uint64_t wrongs;

// Says what is wrong, in detail for the first few.
static void wrong(uint64_t *told, const char *format, ...) {
  wrongs++;
  if ((*told)++ >= told_at_most) return;
  va_list arguments;
  va_start(arguments, format);
  printf("WRONG: ");
  vprintf(format, arguments);
  va_end(arguments);
  printf("\n");
  if (*told == told_at_most) printf("WRONG: (more of these are counted and not shown)\n");
}

static uint32_t token_named(struct device *device, const char *text) {
  for (uint32_t index = 0; index < device->token_count; index++)
    if (!strncmp(device->tokens[index].text, text, token_bytes)) return index;
  return UINT32_MAX;
}

static uint32_t add_token(struct device *device, const char *text) {
  struct token *tokens = realloc(device->tokens, (device->token_count + 1) * sizeof *tokens);
  if (!tokens) fail(2, "no memory for tokens");
  device->tokens = tokens;
  tokens[device->token_count] = (struct token){.lowest = UINT64_MAX, .begin = UINT64_MAX};
  memcpy(tokens[device->token_count].text, text, token_bytes - 1);
  return device->token_count++;
}

static enum content content_of(const struct stamp *stamp) {
  static const struct stamp zeros;
  if (!memcmp(stamp, &zeros, sizeof zeros)) return empty;
  if (stamp->magic != magic) return foreign;
  return stamp->checksum == checksum_of(stamp) ? stamped : torn;
}

static void note(struct device *device, uint64_t place, const struct stamp *stamp, uint64_t *told) {
  struct place *here = &device->places[place];
  here->content = content_of(stamp);
  device->counts[here->content]++;
  if (here->content == torn) wrong(told, "block %" PRIu64 " is torn: it begins as sequence %" PRIu64 " of token %.63s", place, stamp->sequence, stamp->token);
  if (here->content != stamped) return;
  uint32_t index = token_named(device, stamp->token);
  if (index == UINT32_MAX) index = add_token(device, stamp->token);
  struct token *token = &device->tokens[index];
  here->token = index;
  here->sequence = stamp->sequence;
  token->blocks++;
  if (stamp->sequence < token->lowest) token->lowest = stamp->sequence;
  if (stamp->sequence > token->highest) token->highest = stamp->sequence;
  if (token->begin == UINT64_MAX && place >= stamp->block) token->begin = place - stamp->block;
  if (token->begin + stamp->block != place)
    wrong(told, "block %" PRIu64 " has block %" PRIu64 " of token %s, whose block 0 is elsewhere", place, stamp->block, token->text);
}

static void read_device(struct device *device, uint64_t at_most) {
  int file = open(device->name, O_RDONLY | O_DIRECT);
  if (file < 0) fail(2, "%s: %s", device->name, strerror(errno));
  device->blocks = blocks_of(file, device->name);
  if (at_most && at_most < device->blocks) device->blocks = at_most;
  device->places = memory(device->blocks * sizeof *device->places);
  struct stamp *stamps = memory(blocks_at_once * sizeof *stamps);
  uint64_t told = 0;
  for (uint64_t place = 0; place < device->blocks;) {
    uint64_t left = device->blocks - place, wanted = left < blocks_at_once ? left : blocks_at_once;
    ssize_t bytes = pread(file, stamps, wanted * sizeof *stamps, (off_t)place * block_bytes);
    if (bytes < block_bytes) fail(2, "%s cannot be read at block %" PRIu64 ": %s", device->name, place, bytes < 0 ? strerror(errno) : "it ends");
    for (ssize_t index = 0; index < bytes / block_bytes; index++) note(device, place++, &stamps[index], &told);
  }
  close(file);
}

static void print_found(const struct device *device) {
  printf("%s has %" PRIu64 " blocks: %" PRIu64 " stamped, %" PRIu64 " empty, %" PRIu64 " torn, %" PRIu64 " foreign\n", device->name,
         device->blocks, device->counts[stamped], device->counts[empty], device->counts[torn], device->counts[foreign]);
  for (uint32_t index = 0; index < device->token_count; index++) {
    const struct token *token = &device->tokens[index];
    printf("token %s: %" PRIu64 " blocks, sequences %" PRIu64 " to %" PRIu64 ", its block 0 at %" PRIu64 "\n", token->text, token->blocks,
           token->lowest, token->highest, token->begin);
  }
}

struct log {
  const char *name;
  uint32_t token;
  uint64_t last, *sequences;  // by block: the last acknowledged write of it
};

// What a log acknowledges. Its last line may be cut short, if the writer was killed.
static struct log read_log(struct device *device, const char *name) {
  FILE *file = fopen(name, "r");
  if (!file) fail(2, "%s: %s", name, strerror(errno));
  char line[256], text[token_bytes] = "";
  if (!fgets(line, sizeof line, file) || sscanf(line, "token %63[^\n]", text) != 1) fail(2, "%s is not a log of 'stamps write'", name);
  struct log log = {.name = name, .token = token_named(device, text), .sequences = memory(device->blocks * 8)};
  if (log.token == UINT32_MAX) log.token = add_token(device, text);
  uint64_t begin = device->tokens[log.token].begin;
  if (begin == UINT64_MAX) begin = 0;  // nothing of it is there
  while (fgets(line, sizeof line, file)) {
    uint64_t sequence, block;
    if (!strchr(line, '\n') || sscanf(line, "ack %" SCNu64 " %" SCNu64, &sequence, &block) != 2) continue;
    if (block >= device->blocks - begin) fail(2, "%s acknowledges block %" PRIu64 ", which %s does not have", name, block, device->name);
    log.sequences[begin + block] = sequence;
    log.last = sequence;
  }
  fclose(file);
  return log;
}

// The last acknowledged write of every block is there, or a later one: the one that was not answered any more, or another holder's.
static void compare(const struct device *device, const struct log *logs, size_t count) {
  for (size_t index = 0; index < count; index++) {
    const struct log *log = &logs[index];
    uint64_t told = 0, there = 0, later = 0, unanswered = 0;
    for (uint64_t place = 0; place < device->blocks; place++) {
      const struct place *found = &device->places[place];
      int own = found->content == stamped && found->token == log->token;
      if (own && found->sequence > log->last + 1)
        wrong(&told, "block %" PRIu64 " has sequence %" PRIu64 " of token %s, whose log ends at %" PRIu64, place, found->sequence, device->tokens[log->token].text, log->last);
      if (own && found->sequence == log->last + 1) unanswered++;
      if (!log->sequences[place]) continue;
      int follows = found->content == stamped && !own;
      for (size_t before = 0; before < index; before++) follows &= found->token != logs[before].token;
      if (own && found->sequence == log->sequences[place]) there++;
      else if (follows || (own && found->sequence == log->last + 1)) later++;
      else wrong(&told, "block %" PRIu64 " lacks sequence %" PRIu64 " of token %s, which was acknowledged", place, log->sequences[place], device->tokens[log->token].text);
    }
    printf("log %s of token %s: acknowledged up to %" PRIu64 "; of the last write of each block %" PRIu64 " are there, %" PRIu64
           " under later ones, %" PRIu64 " lost or wrong; %s\n", log->name, device->tokens[log->token].text, log->last, there, later, told,
           unanswered ? "the one without an answer is there" : "nothing without an answer is there");
  }
}

static void check_bound(const struct device *device, const char *text, uint64_t bound) {
  uint64_t told = 0;
  for (uint64_t place = 0; place < device->blocks; place++) {
    const struct place *found = &device->places[place];
    if (found->content == stamped && !strcmp(device->tokens[found->token].text, text) && found->sequence > bound)
      wrong(&told, "block %" PRIu64 " has sequence %" PRIu64 " of token %s: above %" PRIu64, place, found->sequence, text, bound);
  }
  printf("token %s: %" PRIu64 " blocks above sequence %" PRIu64 "\n", text, told, bound);
}

static int check(char **arguments) {
  struct device device = {.name = *arguments++};
  uint64_t blocks = 0;
  for (char **argument = arguments; *argument; argument++)
    if (!strcmp(*argument, "--blocks") && argument[1]) blocks = number(argument[1], "--blocks");
  read_device(&device, blocks);
  size_t count = 0;
  struct log *logs = NULL;
  for (char **argument = arguments; *argument; argument++) {
    if (strcmp(*argument, "--log") || !argument[1]) continue;
    logs = realloc(logs, (count + 1) * sizeof *logs);
    if (!logs) fail(2, "no memory for logs");
    logs[count++] = read_log(&device, *++argument);
  }
  print_found(&device);
  compare(&device, logs, count);
  for (; *arguments; arguments++) {
    if ((!strcmp(*arguments, "--log") || !strcmp(*arguments, "--blocks")) && arguments[1]) arguments++;
    else if (!strcmp(*arguments, "--nothing-above") && arguments[1] && arguments[2]) {
      check_bound(&device, arguments[1], number(arguments[2], "a sequence"));
      arguments += 2;
    } else fail(64, "'%s' is not understood", *arguments);
  }
  printf(wrongs ? "%" PRIu64 " things are wrong\n" : "all is well\n", wrongs);
  return wrongs ? 1 : 0;
}

int main(int count, char **arguments) {
  if (count >= 3 && !strcmp(arguments[1], "check")) return check(arguments + 2);
  struct writer writer = {.device = count >= 3 ? arguments[2] : NULL};
  if (count < 3 || strcmp(arguments[1], "write")) fail(64, "usage: stamps write|check DEVICE ...: see the beginning of stamps.c");
  for (int index = 3; index < count; index += 2) {
    const char *name = arguments[index], *value = arguments[index + 1];
    if (!value) fail(64, "%s needs a value", name);
    if (!strcmp(name, "--token")) writer.token = value;
    else if (!strcmp(name, "--log")) writer.log = value;
    else if (!strcmp(name, "--seed")) writer.seed = number(value, name);
    else if (!strcmp(name, "--blocks")) writer.blocks = number(value, name);
    else if (!strcmp(name, "--count")) writer.count = number(value, name);
    else fail(64, "'%s' is not understood", name);
  }
  if (!writer.token || !*writer.token || strlen(writer.token) >= token_bytes || strpbrk(writer.token, " \n"))
    fail(64, "--token takes one word of at most %d letters", token_bytes - 1);
  return write_stamps(&writer);
}
