/* libcurl, loaded when a daemon first speaks to a discovery server. With its thirty dependencies it
 * is most of what a process of ours would hold in memory, and `warren wg` and `warren server` never
 * use it. */
#ifndef NODE_DISCOVERY_CURL_H
#define NODE_DISCOVERY_CURL_H

#include <curl/curl.h>

#include "base/err.h"

/* The functions that discovery.c calls, with the types that <curl/curl.h> gives them. */
struct discovery_curl {
	__typeof__(curl_global_init) *global_init;
	__typeof__(curl_global_cleanup) *global_cleanup;
	__typeof__(curl_multi_init) *multi_init;
	__typeof__(curl_multi_cleanup) *multi_cleanup;
	__typeof__(curl_multi_setopt) *multi_setopt;
	__typeof__(curl_multi_assign) *multi_assign;
	__typeof__(curl_multi_socket_action) *multi_socket_action;
	__typeof__(curl_multi_info_read) *multi_info_read;
	__typeof__(curl_multi_add_handle) *multi_add_handle;
	__typeof__(curl_multi_remove_handle) *multi_remove_handle;
	__typeof__(curl_easy_init) *easy_init;
	__typeof__(curl_easy_cleanup) *easy_cleanup;
	__typeof__(curl_easy_setopt) *easy_setopt;
	__typeof__(curl_easy_getinfo) *easy_getinfo;
	__typeof__(curl_easy_header) *easy_header;
	__typeof__(curl_easy_strerror) *easy_strerror;
	__typeof__(curl_slist_append) *slist_append;
	__typeof__(curl_slist_free_all) *slist_free_all;
	__typeof__(curl_getdate) *getdate;
};

/* Fills OUT. The library stays loaded until the process ends: what it depends on does not like to
 * be unloaded. ERR_NOT_FOUND when it is not there or too old. */
enum err discovery_curl_load(struct discovery_curl *out) MUST_CHECK;

#endif
