/* Listening sockets in the file system, for their owner only. errno says why on failure. */
#ifndef LINUX_UNIX_SOCKET_H
#define LINUX_UNIX_SOCKET_H

#include "base/err.h"
#include "base/mem.h"

/* Listens at PATH, mode 0600, non-blocking. A socket file that nobody answers at is replaced.
 * ERR_EXISTS when somebody answers or PATH is another kind of file, ERR_TRUNCATED when PATH is too
 * long for a socket address (107 bytes), ERR_DENIED, ERR_NOT_FOUND (no such directory), ERR_IO.
 * Whoever closes *FD also unlinks PATH. */
enum err unix_socket_listen(const char *path, int *fd) MUST_CHECK;

/* A blocking connection. ERR_NOT_FOUND when nobody listens there, ERR_AGAIN when whoever does is too
 * busy to take it. */
enum err unix_socket_connect(const char *path, int *fd) MUST_CHECK;

/* The next waiting connection, non-blocking. ERR_AGAIN when there is none, ERR_FULL when this
 * process has no file descriptors left (the connection still waits), ERR_IO. */
enum err unix_socket_accept(int listener, int *fd) MUST_CHECK;

#endif
