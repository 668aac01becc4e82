// Calls of Linux's own that glibc declares only under _GNU_SOURCE, which cannot be set for an imported module.
#include <spawn.h>
#include <sys/types.h>

// Unlike posix_fallocate it never falls back to writing every block.
extern int fallocate(int descriptor, int mode, off_t offset, off_t length);
extern int sync_file_range(int descriptor, off_t offset, off_t length, unsigned int flags);
extern int pipe2(int ends[2], int flags);
extern int posix_spawn_file_actions_addclosefrom_np(posix_spawn_file_actions_t *actions, int lowest);
extern int posix_spawn_file_actions_addchdir_np(posix_spawn_file_actions_t *actions, const char *path);
