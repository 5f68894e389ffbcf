/*
 * The disk layer: preloaded (LD_PRELOAD) into every process of a test, it watches the file operations below one root folder.
 *
 *  - Each operation that changes the disk is written to a journal, in the order in which it happened over all threads and processes:
 *    one lock in shared memory is held over the operation and its record. `replay.py` makes disks after a power loss out of it.
 *  - Rules in shared memory, changed by the test while the program runs, kill the process at an operation (before or after it),
 *    freeze the whole machine there, or make the operation fail with an error.
 *  - It shifts the wall clock, and answers with the test's own boot id.
 *
 * An fsync runs outside the lock (so that fsyncs of several threads really overlap); its record says with which operation it began,
 * and the replayer takes only what was finished by then as synced. An mmap is not watched: SQLite's -shm file is the only thing
 * written that way and needs no durability; a writable shared mapping of another file is recorded so that the replayer can refuse it.
 * Nor are stdio streams (their writes do not go through these symbols): fopen for writing is recorded for the same reason.
 *
 * Environment: FAULTS_CONTROL (the shared memory, made by faults_create), FAULTS_JOURNAL, FAULTS_ROOT (real path), FAULTS_ROLE (a name
 * that rules can ask for), FAULTS_MARK_FD (writes to this descriptor are recorded as answers), FAULTS_BOOT_ID (file read instead).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#include <utime.h>

#define MAGIC 0x5041554cu
#define RULES 16
#define PIECE 65536
#define BOOT_ID "/proc/sys/kernel/random/boot_id"

enum { KILL = 1, FREEZE = 2, FAIL = 3 };

struct rule {                   /* mirrored by layer.py: change both */
    uint32_t armed, action, after;  /* after: KILL and FREEZE strike when it is done; FAIL first lets half of a write through */
    int32_t error;
    uint64_t skip;              /* matching operations let through first */
    uint64_t count;             /* FAIL: how many operations fail */
    uint64_t hits;
    char operation[64];         /* names with commas between, or "*" */
    char pattern[256];          /* fnmatch on the path below the root, "/"-led; of a rename on "source>target" too; after "=" no * matches "/" */
    char role[32];              /* empty: any process */
};

struct control {
    uint32_t magic, frozen;
    uint64_t sequence, journal_end;
    int64_t clock_shift;        /* nanoseconds */
    struct rule rules[RULES];
    pthread_mutex_t lock;
};

struct record {                 /* mirrored by journal.py: change both */
    uint32_t magic, length;
    uint64_t sequence, begin, inode;
    int64_t offset, mtime;
    uint32_t pid, mode;
    int32_t error;
    uint16_t path_length, target_length;
    char operation[16], role[16];
};

static struct control *control;
static int journal = -1, mark_descriptor = -1;
static char root[PATH_MAX], role[32], boot_id[PATH_MAX];
static size_t root_length;
static dev_t root_device;

#define REAL(result, name, ...) \
    static result (*real)(__VA_ARGS__); \
    if (!real) real = (result (*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)

/* ---- the control block ---- */

int faults_create(const char *path)
{
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || syscall(SYS_ftruncate, fd, sizeof(struct control))) return -1;
    struct control *made = mmap(NULL, sizeof *made, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (made == MAP_FAILED) return -1;
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&made->lock, &attributes);
    made->magic = MAGIC;
    munmap(made, sizeof *made);
    return (int)sizeof *made;
}

static void take(struct control *block)
{
    if (pthread_mutex_lock(&block->lock) == EOWNERDEAD)  /* its owner was killed: the next record overwrites what it left half-written */
        pthread_mutex_consistent(&block->lock);
}

/* For the test's own process, which maps the block itself. */
void faults_take(struct control *block) { take(block); }
void faults_leave(struct control *block) { pthread_mutex_unlock(&block->lock); }

static void die(void)
{
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("FAULTS_CONTROL"), *log = getenv("FAULTS_JOURNAL"), *below = getenv("FAULTS_ROOT");
    struct stat status;
    if (!path || !log || !below || stat(below, &status)) return;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
    if (fd < 0) return;
    struct control *block = mmap(NULL, sizeof *block, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (block == MAP_FAILED || block->magic != MAGIC) return;
    int low = (int)syscall(SYS_openat, AT_FDCWD, log, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (low < 0) return;
    journal = fcntl(low, F_DUPFD_CLOEXEC, 900);     /* out of the way of programs that count on low numbers */
    if (journal < 0) journal = low; else close(low);
    snprintf(root, sizeof root, "%s", below);
    root_length = strlen(root);
    root_device = status.st_dev;
    if (getenv("FAULTS_ROLE")) snprintf(role, sizeof role, "%s", getenv("FAULTS_ROLE"));
    if (getenv("FAULTS_BOOT_ID")) snprintf(boot_id, sizeof boot_id, "%s", getenv("FAULTS_BOOT_ID"));
    if (getenv("FAULTS_MARK_FD")) mark_descriptor = atoi(getenv("FAULTS_MARK_FD"));
    control = block;
}

/* ---- what is watched ---- */

static int below_root(const char *path)
{
    return !strncmp(path, root, root_length) && (path[root_length] == '/' || !path[root_length]);
}

/* The path below the root ("/" led) of a name as a program gives it; the last component is not followed. 0: not ours. */
static int find_name(int folder, const char *path, char *found)
{
    char whole[2 * PATH_MAX], link[64], resolved[PATH_MAX];
    if (!control || !path || !*path) return 0;
    if (*path == '/') snprintf(whole, sizeof whole, "%s", path);
    else {
        char at[PATH_MAX];
        snprintf(link, sizeof link, folder == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", folder);
        ssize_t got = readlink(link, at, sizeof at - 1);
        if (got < 0) return 0;
        at[got] = 0;
        snprintf(whole, sizeof whole, "%s/%s", at, path);
    }
    size_t length = strlen(whole);
    while (length > 1 && whole[length - 1] == '/') whole[--length] = 0;
    char *cut = strrchr(whole, '/'), *base = cut + 1;
    if (!cut) return 0;
    if (!strcmp(base, ".") || !strcmp(base, "..")) {
        if (!realpath(whole, resolved)) return 0;
        snprintf(whole, sizeof whole, "%s", resolved);
    } else {
        *cut = 0;
        if (!realpath(*whole ? whole : "/", resolved)) return 0;
        char name[PATH_MAX];
        snprintf(name, sizeof name, "%s", base);
        snprintf(whole, sizeof whole, "%s/%s", strcmp(resolved, "/") ? resolved : "", name);
    }
    if (!below_root(whole)) return 0;
    snprintf(found, PATH_MAX, "%s", whole[root_length] ? whole + root_length : "/");
    return 1;
}

/* The same for an open file or folder; `status` is filled in. */
static int find_descriptor(int fd, struct stat *status, char *found)
{
    char link[64], whole[PATH_MAX + 16];
    if (!control || fstat(fd, status) || status->st_dev != root_device) return 0;
    if (!S_ISREG(status->st_mode) && !S_ISDIR(status->st_mode)) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t got = readlink(link, whole, sizeof whole - 1);
    if (got < 0) return 0;
    whole[got] = 0;
    if (!status->st_nlink && got > 10 && !strcmp(whole + got - 10, " (deleted)")) whole[got - 10] = 0;
    if (!below_root(whole)) return 0;
    snprintf(found, PATH_MAX, "%s", whole[root_length] ? whole + root_length : "/");
    return 1;
}

static void real_path(const char *found, char *whole) { snprintf(whole, 2 * PATH_MAX, "%s%s", root, found); }

static uint64_t inode_of(const char *found)
{
    char whole[2 * PATH_MAX];
    struct stat status;
    real_path(found, whole);
    return lstat(whole, &status) ? 0 : status.st_ino;
}

/* ---- one operation: enter, do it, note it ---- */

struct operation {
    const char *name, *path, *target;
    uint64_t begin;
    uint32_t doom;              /* what happens after it: KILL or FREEZE */
    int half;                   /* only the first half is written: the disk fills up in the middle */
};

static int matches(const struct rule *rule, const struct operation *it)
{
    if (*rule->role && strcmp(rule->role, role)) return 0;
    if (strcmp(rule->operation, "*")) {
        size_t length = strlen(it->name);
        const char *at = rule->operation;
        for (;; at++) {
            if (!strncmp(at, it->name, length) && (at[length] == ',' || !at[length])) break;
            if (!(at = strchr(at, ','))) return 0;
        }
    }
    int exact = *rule->pattern == '=' ? FNM_PATHNAME : 0;
    const char *pattern = rule->pattern + !!exact;
    if (!fnmatch(pattern, it->path, exact)) return 1;
    if (!it->target) return 0;
    char both[2 * PATH_MAX];
    snprintf(both, sizeof both, "%s>%s", it->path, it->target);
    return !fnmatch(pattern, it->target, exact) || !fnmatch(pattern, both, exact);
}

static void strike(uint32_t action)
{
    if (action == FREEZE) control->frozen = 1;
    if (action) die();
}

/* The rules' say on an operation, the lock being held. 0, or the error with which it fails (the lock is then given back, errno is set). */
static int judge(struct operation *it)
{
    int error = 0;
    if (control->frozen) die();
    it->begin = control->sequence;
    for (int i = 0; i < RULES; i++) {
        struct rule *rule = &control->rules[i];
        if (!rule->armed || !matches(rule, it)) continue;
        if (rule->skip) { rule->skip--; continue; }
        rule->hits++;
        if (rule->action == FAIL && rule->after && !strcmp(it->name, "write")) {
            rule->after = 0;
            it->half = 1;
        } else if (rule->action == FAIL) {
            if (!error) error = rule->error;
            if (rule->count && !--rule->count) rule->armed = 0;
        } else {
            rule->armed = 0;
            if (!rule->after) strike(rule->action);
            it->doom = rule->action;
        }
    }
    if (!error) return 0;
    pthread_mutex_unlock(&control->lock);
    errno = error;
    return error;
}

static int enter(struct operation *it)
{
    take(control);
    return judge(it);
}

static void put(const void *data, size_t length, uint64_t at)
{
    while (length) {
        ssize_t done = syscall(SYS_pwrite64, journal, data, length, at);
        if (done < 0) { if (errno == EINTR) continue; abort(); }
        data = (const char *)data + done; length -= (size_t)done; at += (uint64_t)done;
    }
}

/* Writes the record (the lock is held) and gives the lock back; errno is kept. */
static void note(struct operation *it, uint64_t inode, int64_t offset, int64_t mtime, uint32_t mode, int error, const void *data, size_t length)
{
    int kept = errno;
    if (control->frozen) die();                     /* the machine went down while an fsync ran */
    struct record record = { .magic = MAGIC, .sequence = ++control->sequence, .begin = it->begin, .inode = inode, .offset = offset,
        .mtime = mtime, .mode = mode, .pid = (uint32_t)getpid(), .error = error };
    const char *target = it->target ? it->target : "";
    record.path_length = (uint16_t)strlen(it->path);
    record.target_length = (uint16_t)strlen(target);
    record.length = (uint32_t)(sizeof record + record.path_length + record.target_length + length);
    snprintf(record.operation, sizeof record.operation, "%s", it->name);
    snprintf(record.role, sizeof record.role, "%.15s", role);
    uint64_t at = control->journal_end;
    char head[sizeof record + 2 * PATH_MAX], *end = head;
    end = (char *)mempcpy(end, &record, sizeof record);
    end = (char *)mempcpy(end, it->path, record.path_length);
    end = (char *)mempcpy(end, target, record.target_length);
    put(head, (size_t)(end - head), at);
    put(data, length, at + (uint64_t)(end - head));
    control->journal_end = at + record.length;
    strike(it->doom);
    pthread_mutex_unlock(&control->lock);
    errno = kept;
}

static void leave(void) { int kept = errno; pthread_mutex_unlock(&control->lock); errno = kept; }

/* ---- the wall clock ---- */

static struct timespec shifted(struct timespec now)
{
    int64_t total = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec + control->clock_shift;
    now.tv_sec = total / 1000000000;
    now.tv_nsec = total % 1000000000;
    return now;
}

/* Files get the shifted time too: a program must not see that only its own clock moved. */
static void stamp(int fd, const char *found)
{
    if (!control->clock_shift) return;
    struct timespec times[2] = { { 0, UTIME_OMIT } };
    int kept = errno;
    syscall(SYS_clock_gettime, CLOCK_REALTIME_COARSE, &times[1]);
    times[1] = shifted(times[1]);
    if (fd >= 0) syscall(SYS_utimensat, fd, NULL, times, 0);
    else {
        char whole[2 * PATH_MAX];
        real_path(found, whole);
        syscall(SYS_utimensat, AT_FDCWD, whole, times, AT_SYMLINK_NOFOLLOW);
    }
    errno = kept;
}

static void stamp_parent(const char *found)
{
    char parent[PATH_MAX];
    snprintf(parent, sizeof parent, "%s", found);
    char *cut = strrchr(parent, '/');
    if (cut) *cut = 0;
    stamp(-1, parent);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    REAL(int, clock_gettime, clockid_t, struct timespec *);
    int result = real(clock, now);
    if (!result && control && control->clock_shift && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) *now = shifted(*now);
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec exact;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *kept)
{
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (kept) *kept = exact.tv_sec;
    return exact.tv_sec;
}

/* CPython before 3.7 waits until a moment of the wall clock, which the kernel does not know to be shifted: without this its timed
 * waits would end at once, again and again, or never. A moment of the monotonic clock is a small number. */
static struct timespec unshifted(const struct timespec *until)
{
    struct timespec moment = *until;
    if (control && control->clock_shift && moment.tv_sec > 1000000000) {
        int64_t total = (int64_t)moment.tv_sec * 1000000000 + moment.tv_nsec - control->clock_shift;
        moment.tv_sec = total / 1000000000;
        moment.tv_nsec = total % 1000000000;
    }
    return moment;
}

int sem_timedwait(sem_t *restrict semaphore, const struct timespec *restrict until)
{
    REAL(int, sem_timedwait, sem_t *, const struct timespec *);
    struct timespec moment = unshifted(until);
    return real(semaphore, &moment);
}

int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex, const struct timespec *restrict until)
{
    static int (*real)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    struct timespec moment = unshifted(until);
    if (!real) real = (int (*)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *))
        dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2"); /* the plain look-up finds an older one of another form */
    if (!real) real = (int (*)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *))
        dlsym(RTLD_NEXT, "pthread_cond_timedwait");
    return real(condition, mutex, &moment);
}

/* ---- opening and making ---- */

static int open_watched(int folder, const char *path, int flags, mode_t mode)
{
    char found[PATH_MAX];
    struct stat status;
    if (control && *boot_id && path && !strcmp(path, BOOT_ID)) return (int)syscall(SYS_openat, AT_FDCWD, boot_id, flags, mode);
    int unnamed = (flags & O_TMPFILE) == O_TMPFILE;
    if (!(flags & (O_CREAT | O_TRUNC)) && !unnamed) return (int)syscall(SYS_openat, folder, path, flags, mode);
    if (!find_name(folder, path, found)) return (int)syscall(SYS_openat, folder, path, flags, mode);
    take(control);
    int existed = !unnamed && !fstatat(folder, path, &status, 0), changes = !existed || flags & O_TRUNC;
    struct operation it = { existed ? "truncate" : "create", unnamed ? "" : found };
    if (changes && judge(&it)) return -1;
    int fd = (int)syscall(SYS_openat, folder, path, flags, mode);
    if (fd < 0 || fstat(fd, &status) || !changes) { leave(); return fd; }
    stamp(fd, NULL);
    if (!existed && !unnamed) stamp_parent(found);
    note(&it, status.st_ino, 0, 0, status.st_mode, 0, NULL, 0);
    return fd;
}

#define MODE(flags) mode_t mode = 0; \
    if ((flags) & (O_CREAT | O_TMPFILE)) { va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); }
int open(const char *path, int flags, ...) { MODE(flags); return open_watched(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags); return open_watched(AT_FDCWD, path, flags, mode); }
int openat(int folder, const char *path, int flags, ...) { MODE(flags); return open_watched(folder, path, flags, mode); }
int openat64(int folder, const char *path, int flags, ...) { MODE(flags); return open_watched(folder, path, flags, mode); }
int __open_2(const char *path, int flags) { return open_watched(AT_FDCWD, path, flags, 0); }
int __open64_2(const char *path, int flags) { return open_watched(AT_FDCWD, path, flags, 0); }
int __openat_2(int folder, const char *path, int flags) { return open_watched(folder, path, flags, 0); }
int __openat64_2(int folder, const char *path, int flags) { return open_watched(folder, path, flags, 0); }
int creat(const char *path, mode_t mode) { return open_watched(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return open_watched(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

static void note_unwatchable(const char *name, const char *found)
{
    struct operation it = { name, found };
    if (!enter(&it)) note(&it, inode_of(found), 0, 0, 0, 0, NULL, 0);
}

#define FOPEN(name) FILE *name(const char *path, const char *mode) { \
    char found[PATH_MAX]; \
    REAL(FILE *, name, const char *, const char *); \
    if (strpbrk(mode, "wa+") && find_name(AT_FDCWD, path, found)) note_unwatchable("stdio", found); \
    return real(path, mode); }
FOPEN(fopen)
FOPEN(fopen64)

#define MMAP(name, offset_type) void *name(void *at, size_t length, int protection, int flags, int fd, offset_type offset) { \
    char found[PATH_MAX]; \
    struct stat status; \
    REAL(void *, name, void *, size_t, int, int, int, offset_type); \
    if (fd >= 0 && (protection & PROT_WRITE) && (flags & MAP_SHARED) && find_descriptor(fd, &status, found)) note_unwatchable("mmap", found); \
    return real(at, length, protection, flags, fd, offset); }
MMAP(mmap, off_t)
MMAP(mmap64, off64_t)

/* ---- bytes ---- */

static ssize_t write_watched(int fd, const void *data, size_t length, int64_t at)
{
    char found[PATH_MAX];
    struct stat status;
#define PLAIN() (at < 0 ? syscall(SYS_write, fd, data, length) : syscall(SYS_pwrite64, fd, data, length, at))
    if (control && fd == mark_descriptor) {
        struct operation it = { "mark", "" };
        take(control);
        if (control->frozen) die();
        note(&it, 0, 0, 0, 0, 0, data, length);
        return PLAIN();
    }
    if (!find_descriptor(fd, &status, found) || S_ISDIR(status.st_mode)) return PLAIN();
    struct operation it = { "write", found };
    if (enter(&it)) return -1;
    if (it.half && length > 1) length /= 2;
    int64_t offset = at;
    if (at < 0 || fcntl(fd, F_GETFL) & O_APPEND) {
        fstat(fd, &status);
        offset = fcntl(fd, F_GETFL) & O_APPEND ? status.st_size : lseek(fd, 0, SEEK_CUR);
    }
    ssize_t done = PLAIN();
    if (done <= 0) { leave(); return done; }
    stamp(fd, NULL);
    note(&it, status.st_ino, offset, 0, 0, 0, data, (size_t)done);
    return done;
}

static ssize_t writev_watched(int fd, const struct iovec *pieces, int count, int64_t at)
{
    ssize_t total = 0;
    for (int i = 0; i < count; i++) {               /* a vector is written piece by piece: no caller may count on more */
        if (!pieces[i].iov_len) continue;
        ssize_t done = write_watched(fd, pieces[i].iov_base, pieces[i].iov_len, at < 0 ? at : at + total);
        if (done < 0) return total ? total : done;
        total += done;
        if ((size_t)done < pieces[i].iov_len) break;
    }
    return total;
}

/* Sockets and pipes get a vector whole. */
static int plain_descriptor(int fd)
{
    char found[PATH_MAX];
    struct stat status;
    return !control || (fd != mark_descriptor && !find_descriptor(fd, &status, found));
}

ssize_t write(int fd, const void *data, size_t length) { return write_watched(fd, data, length, -1); }
ssize_t pwrite(int fd, const void *data, size_t length, off_t at) { return write_watched(fd, data, length, at); }
ssize_t pwrite64(int fd, const void *data, size_t length, off64_t at) { return write_watched(fd, data, length, at); }
ssize_t writev(int fd, const struct iovec *pieces, int count)
{
    return plain_descriptor(fd) ? syscall(SYS_writev, fd, pieces, count) : writev_watched(fd, pieces, count, -1);
}
ssize_t pwritev(int fd, const struct iovec *pieces, int count, off_t at) { return writev_watched(fd, pieces, count, at); }
ssize_t pwritev64(int fd, const struct iovec *pieces, int count, off64_t at) { return writev_watched(fd, pieces, count, at); }

/* Copies inside the kernel become a read and a watched write; a short count is allowed. */
static ssize_t copy_watched(int out, off64_t *out_at, int in, off64_t *in_at, size_t length)
{
    char data[PIECE];
    if (length > sizeof data) length = sizeof data;
    off64_t from = in_at ? *in_at : lseek(in, 0, SEEK_CUR);
    ssize_t got = pread(in, data, length, from);
    if (got <= 0) return got;
    ssize_t done = write_watched(out, data, (size_t)got, out_at ? *out_at : -1);
    if (done <= 0) return done;
    if (out_at) *out_at += done;
    if (in_at) *in_at += done; else lseek(in, from + done, SEEK_SET);
    return done;
}

#define SENDFILE(name, offset_type) ssize_t name(int out, int in, offset_type *at, size_t length) { \
    REAL(ssize_t, name, int, int, offset_type *, size_t); \
    return plain_descriptor(out) ? real(out, in, at, length) : copy_watched(out, NULL, in, (off64_t *)at, length); }
SENDFILE(sendfile, off_t)
SENDFILE(sendfile64, off64_t)

ssize_t copy_file_range(int in, off64_t *in_at, int out, off64_t *out_at, size_t length, unsigned flags)
{
    REAL(ssize_t, copy_file_range, int, off64_t *, int, off64_t *, size_t, unsigned);
    return plain_descriptor(out) ? real(in, in_at, out, out_at, length, flags) : copy_watched(out, out_at, in, in_at, length);
}

static int truncate_watched(int fd, int64_t size)
{
    char found[PATH_MAX];
    struct stat status;
    if (!find_descriptor(fd, &status, found)) return (int)syscall(SYS_ftruncate, fd, size);
    struct operation it = { size > status.st_size ? "allocate" : "truncate", found };
    if (enter(&it)) return -1;
    int result = (int)syscall(SYS_ftruncate, fd, size);
    if (result) { leave(); return result; }
    it.name = "truncate";
    stamp(fd, NULL);
    note(&it, status.st_ino, size, 0, 0, 0, NULL, 0);
    return 0;
}

int ftruncate(int fd, off_t size) { return truncate_watched(fd, size); }
int ftruncate64(int fd, off64_t size) { return truncate_watched(fd, size); }

static int truncate_path(const char *path, int64_t size)
{
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0);
    if (fd < 0) return -1;
    int result = truncate_watched(fd, size);
    close(fd);
    return result;
}

int truncate(const char *path, off_t size) { return truncate_path(path, size); }
int truncate64(const char *path, off64_t size) { return truncate_path(path, size); }

static int allocate_watched(int fd, int mode, int64_t at, int64_t length)
{
    char found[PATH_MAX];
    struct stat status;
    if (!find_descriptor(fd, &status, found)) return (int)syscall(SYS_fallocate, fd, mode, at, length);
    struct operation it = { "allocate", found };
    if (mode) { errno = EOPNOTSUPP; return -1; }    /* holes and the like: as on a file system without them */
    if (enter(&it)) return -1;
    int result = (int)syscall(SYS_fallocate, fd, mode, at, length);
    if (result) { leave(); return result; }
    fstat(fd, &status);
    it.name = "truncate";
    note(&it, status.st_ino, status.st_size, 0, 0, 0, NULL, 0);
    return 0;
}

int fallocate(int fd, int mode, off_t at, off_t length) { return allocate_watched(fd, mode, at, length); }
int fallocate64(int fd, int mode, off64_t at, off64_t length) { return allocate_watched(fd, mode, at, length); }
int posix_fallocate(int fd, off_t at, off_t length) { return allocate_watched(fd, 0, at, length) ? errno : 0; }
int posix_fallocate64(int fd, off64_t at, off64_t length) { return allocate_watched(fd, 0, at, length) ? errno : 0; }

/* ---- syncing ---- */

static int sync_watched(int fd, long call, int data_only)
{
    char found[PATH_MAX];
    struct stat status;
    if (!find_descriptor(fd, &status, found)) return (int)syscall(call, fd);
    struct operation it = { S_ISDIR(status.st_mode) ? "fsyncdir" : "fsync", found };
    int error = enter(&it);
    if (error) {                                    /* the kernel marks such pages clean: what was pending is lost for good */
        take(control);
        it.begin = control->sequence;
        note(&it, status.st_ino, 0, 0, 0, error, NULL, 0);
        errno = error;
        return -1;
    }
    pthread_mutex_unlock(&control->lock);
    fstat(fd, &status);
    int result = (int)syscall(call, fd);
    take(control);
    int64_t mtime = data_only ? 0 : (int64_t)status.st_mtim.tv_sec * 1000000000 + status.st_mtim.tv_nsec;
    note(&it, status.st_ino, 0, mtime, status.st_mode, result ? errno : 0, NULL, 0);
    return result;
}

int fsync(int fd) { return sync_watched(fd, SYS_fsync, 0); }
int fdatasync(int fd) { return sync_watched(fd, SYS_fdatasync, 1); }

void sync(void)
{
    if (!control) { syscall(SYS_sync); return; }
    struct operation it = { "sync", "/" };
    if (enter(&it)) return;
    pthread_mutex_unlock(&control->lock);
    syscall(SYS_sync);
    take(control);
    note(&it, 0, 0, 0, 0, 0, NULL, 0);
}

int syncfs(int fd)
{
    char found[PATH_MAX];
    struct stat status;
    if (!find_descriptor(fd, &status, found)) return (int)syscall(SYS_syncfs, fd);
    sync();
    return 0;
}

/* Flushes no metadata and no drive cache: an operation to be killed at, but nothing is synced by it. */
int sync_file_range(int fd, off64_t at, off64_t length, unsigned flags)
{
    char found[PATH_MAX];
    struct stat status;
    if (find_descriptor(fd, &status, found)) {
        struct operation it = { "flush", found };
        if (enter(&it)) return -1;
        note(&it, status.st_ino, at, 0, 0, 0, NULL, 0);
    }
    return (int)syscall(SYS_sync_file_range, fd, at, length, flags);
}

/* ---- names ---- */

static int rename_watched(int from, const char *old, int to, const char *new, unsigned flags)
{
    char source[PATH_MAX], target[PATH_MAX];
    int watched = find_name(from, old, source) + find_name(to, new, target);
    if (!watched) return (int)syscall(SYS_renameat2, from, old, to, new, flags);
    if (watched == 1 || flags & RENAME_EXCHANGE) { errno = watched == 1 ? EXDEV : EINVAL; return -1; }   /* the root is a device of its own */
    struct operation it = { "rename", source, target };
    if (enter(&it)) return -1;
    uint64_t inode = inode_of(source), replaced = inode_of(target);
    int result = (int)syscall(SYS_renameat2, from, old, to, new, flags);
    if (result || inode == replaced) { leave(); return result; }
    stamp_parent(source);
    stamp_parent(target);
    note(&it, inode, 0, 0, 0, 0, NULL, 0);
    return 0;
}

int rename(const char *old, const char *new) { return rename_watched(AT_FDCWD, old, AT_FDCWD, new, 0); }
int renameat(int from, const char *old, int to, const char *new) { return rename_watched(from, old, to, new, 0); }
int renameat2(int from, const char *old, int to, const char *new, unsigned flags) { return rename_watched(from, old, to, new, flags); }

static int link_watched(int from, const char *old, int to, const char *new, int flags)
{
    char source[PATH_MAX], target[PATH_MAX];
    if (!find_name(to, new, target)) return (int)syscall(SYS_linkat, from, old, to, new, flags);
    if (!find_name(from, old, source)) snprintf(source, sizeof source, "%s", target);   /* an unnamed file through /proc */
    struct operation it = { "link", source, target };
    if (enter(&it)) return -1;
    int result = (int)syscall(SYS_linkat, from, old, to, new, flags);
    if (result) { leave(); return result; }
    stamp_parent(target);
    note(&it, inode_of(target), 0, 0, 0, 0, NULL, 0);
    return 0;
}

int link(const char *old, const char *new) { return link_watched(AT_FDCWD, old, AT_FDCWD, new, 0); }
int linkat(int from, const char *old, int to, const char *new, int flags) { return link_watched(from, old, to, new, flags); }

static int unlink_watched(int folder, const char *path, int flags)
{
    char found[PATH_MAX];
    if (!find_name(folder, path, found)) return (int)syscall(SYS_unlinkat, folder, path, flags);
    struct operation it = { flags & AT_REMOVEDIR ? "rmdir" : "unlink", found };
    if (enter(&it)) return -1;
    uint64_t inode = inode_of(found);
    int result = (int)syscall(SYS_unlinkat, folder, path, flags);
    if (result) { leave(); return result; }
    stamp_parent(found);
    note(&it, inode, 0, 0, 0, 0, NULL, 0);
    return 0;
}

int unlink(const char *path) { return unlink_watched(AT_FDCWD, path, 0); }
int unlinkat(int folder, const char *path, int flags) { return unlink_watched(folder, path, flags); }
int rmdir(const char *path) { return unlink_watched(AT_FDCWD, path, AT_REMOVEDIR); }
int remove(const char *path)
{
    int result = unlink_watched(AT_FDCWD, path, 0);
    return result && errno == EISDIR ? rmdir(path) : result;
}

static int mkdir_watched(int folder, const char *path, mode_t mode)
{
    char found[PATH_MAX];
    if (!find_name(folder, path, found)) return (int)syscall(SYS_mkdirat, folder, path, mode);
    struct operation it = { "mkdir", found };
    if (enter(&it)) return -1;
    int result = (int)syscall(SYS_mkdirat, folder, path, mode);
    if (result) { leave(); return result; }
    stamp(-1, found);
    stamp_parent(found);
    note(&it, inode_of(found), 0, 0, mode, 0, NULL, 0);
    return 0;
}

int mkdir(const char *path, mode_t mode) { return mkdir_watched(AT_FDCWD, path, mode); }
int mkdirat(int folder, const char *path, mode_t mode) { return mkdir_watched(folder, path, mode); }

static int symlink_watched(const char *text, int folder, const char *path)
{
    char found[PATH_MAX];
    if (!find_name(folder, path, found)) return (int)syscall(SYS_symlinkat, text, folder, path);
    struct operation it = { "symlink", found };
    if (enter(&it)) return -1;
    int result = (int)syscall(SYS_symlinkat, text, folder, path);
    if (result) { leave(); return result; }
    note(&it, inode_of(found), 0, 0, 0, 0, text, strlen(text));
    return 0;
}

int symlink(const char *text, const char *path) { return symlink_watched(text, AT_FDCWD, path); }
int symlinkat(const char *text, int folder, const char *path) { return symlink_watched(text, folder, path); }

/* ---- times ---- */

static int times_watched(int folder, const char *path, const struct timespec times[2], int flags)
{
    char found[PATH_MAX];
    struct stat status;
    if (!(path ? find_name(folder, path, found) : find_descriptor(folder, &status, found)))
        return (int)syscall(SYS_utimensat, folder, path, times, flags);
    struct operation it = { "utime", found };
    if (enter(&it)) return -1;
    int result = (int)syscall(SYS_utimensat, folder, path, times, flags);
    if (result) { leave(); return result; }
    note(&it, path ? inode_of(found) : status.st_ino, 0, 0, 0, 0, NULL, 0);
    return 0;
}

int utimensat(int folder, const char *path, const struct timespec times[2], int flags) { return times_watched(folder, path, times, flags); }
int futimens(int fd, const struct timespec times[2]) { return times_watched(fd, NULL, times, 0); }

static int times_from_microseconds(int folder, const char *path, const struct timeval old[2], int flags)
{
    if (!old) return times_watched(folder, path, NULL, flags);
    struct timespec times[2] = { { old[0].tv_sec, old[0].tv_usec * 1000 }, { old[1].tv_sec, old[1].tv_usec * 1000 } };
    return times_watched(folder, path, times, flags);
}

int utimes(const char *path, const struct timeval times[2]) { return times_from_microseconds(AT_FDCWD, path, times, 0); }
int lutimes(const char *path, const struct timeval times[2]) { return times_from_microseconds(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW); }
int futimes(int fd, const struct timeval times[2]) { return times_from_microseconds(fd, NULL, times, 0); }
int utime(const char *path, const struct utimbuf *times)
{
    struct timespec exact[2] = { { times ? times->actime : 0, 0 }, { times ? times->modtime : 0, 0 } };
    return times_watched(AT_FDCWD, path, times ? exact : NULL, 0);
}
