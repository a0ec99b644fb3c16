/* Log records on stderr, one line each: time, level, subsystem, message, key=value. */
#ifndef LINUX_LOG_H
#define LINUX_LOG_H

#include "base/host.h"

/* A logger that writes to stderr. */
struct logger log_to_stderr(enum log_level level);

/* "error", "warn", "info", "debug", "trace". ERR_INVALID for anything else. */
enum err log_level_parse(const char *s, enum log_level *out) MUST_CHECK;

#endif
