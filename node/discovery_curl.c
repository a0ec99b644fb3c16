#include "node/discovery_curl.h"

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

#include "base/mem.h"

#define LIBRARY "libcurl.so.4" /* the ABI of <curl/curl.h> since 2006 */

#define SYMBOL(name) { "curl_" #name, offsetof(struct discovery_curl, name) }

static const struct {
	const char *name;
	size_t at;
} symbols[] = {
	SYMBOL(global_init),      SYMBOL(global_cleanup),      SYMBOL(multi_init),
	SYMBOL(multi_cleanup),    SYMBOL(multi_setopt),        SYMBOL(multi_assign),
	SYMBOL(multi_info_read),  SYMBOL(multi_socket_action), SYMBOL(multi_add_handle),
	SYMBOL(easy_init),        SYMBOL(multi_remove_handle), SYMBOL(easy_cleanup),
	SYMBOL(easy_setopt),      SYMBOL(easy_getinfo),        SYMBOL(easy_header),
	SYMBOL(easy_strerror),    SYMBOL(slist_append),        SYMBOL(slist_free_all),
	SYMBOL(getdate),
};

_Static_assert(sizeof(struct discovery_curl) == ARRAY_LEN(symbols) * sizeof(void *),
               "every function is looked up");

enum err discovery_curl_load(struct discovery_curl *out)
{
	void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);

	if (!library)
		return ERR_NOT_FOUND;
	for (size_t i = 0; i < ARRAY_LEN(symbols); i++) {
		void *found = dlsym(library, symbols[i].name);

		if (!found)
			return ERR_NOT_FOUND;
		/* POSIX lets a function's address pass through void *, ISO C has no cast for it. */
		memcpy((char *)out + symbols[i].at, &found, sizeof(found));
	}
	return ERR_OK;
}
