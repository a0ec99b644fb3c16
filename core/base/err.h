/* Error values. 0 is success, failures are negative; nothing in core uses errno.
 * Garbage from the network is a counted drop, not an error: these are for callers that can act. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#define MUST_CHECK __attribute__((warn_unused_result))

enum err {
	ERR_OK = 0,
	ERR_INVALID = -1,     /* malformed or out of range input */
	ERR_NOMEM = -2,       /* the allocator refused */
	ERR_FULL = -3,        /* a named bound was reached */
	ERR_NOT_FOUND = -4,   /* no such thing */
	ERR_EXISTS = -5,      /* already there */
	ERR_TRUNCATED = -6,   /* the output does not fit, or the input ends early */
	ERR_AUTH = -7,        /* authentication failed */
	ERR_WRONG_STATE = -8,       /* not possible in this state */
	ERR_IO = -9,          /* the host could not read or write */
	ERR_AGAIN = -10,      /* not now; try later */
	ERR_DENIED = -11,     /* refused by policy or by the operating system */
	ERR_TIMEOUT = -12,    /* took too long */
	ERR_UNSUPPORTED = -13 /* known, but not supported here */
};

/* A short lower-case English text for E. Never NULL; static storage. */
const char *err_text(enum err e);

#endif
