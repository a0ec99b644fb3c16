#include "base/err.h"

const char *err_text(enum err e)
{
	switch (e) {
	case ERR_OK: return "ok";
	case ERR_INVALID: return "invalid value";
	case ERR_NOMEM: return "out of memory";
	case ERR_FULL: return "limit reached";
	case ERR_NOT_FOUND: return "not found";
	case ERR_EXISTS: return "already exists";
	case ERR_TRUNCATED: return "truncated";
	case ERR_AUTH: return "authentication failed";
	case ERR_WRONG_STATE: return "not possible now";
	case ERR_IO: return "input/output error";
	case ERR_AGAIN: return "try again later";
	case ERR_DENIED: return "permission denied";
	case ERR_TIMEOUT: return "timed out";
	case ERR_UNSUPPORTED: return "not supported";
	}
	return "unknown error";
}
