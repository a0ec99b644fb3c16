/* TLS 1.2 and 1.3 of accepted connections, over OpenSSL and without I/O of its own: ciphertext goes
 * in and comes out as bytes. */
#ifndef SERVER_TLS_H
#define SERVER_TLS_H

#include "base/err.h"
#include "server/buffer.h"

#define TLS_PLAIN_MAX 16384 /* of one record, RFC 8446 section 5.1 */
/* The first byte of a ClientHello's record (RFC 8446 section 5.1), which no HTTP request has. */
#define TLS_FIRST_BYTE 0x16

struct tls_context;
struct tls;

/* CERT_FILE: the certificate and its chain, PEM; KEY_FILE: its private key, PEM. Both names are
 * kept for reloading. On failure WHY tells what is wrong: ERR_IO a file cannot be read, ERR_INVALID
 * it does not hold what it should or the two do not match, ERR_NOMEM. */
enum err tls_context_new(const char *cert_file, const char *key_file, struct tls_context **out,
                         char *why, size_t cap) MUST_CHECK;
/* Reads the files again; connections to come use what they hold now. On failure the old ones stay
 * in use. Errors as above. */
enum err tls_context_reload(struct tls_context *ctx, char *why, size_t cap) MUST_CHECK;
/* After its connections are freed. NULL is fine. */
void tls_context_free(struct tls_context *ctx);

/* A connection's end; ciphertext to send is appended to OUT, which is borrowed. NULL: out of
 * memory. */
struct tls *tls_new(struct tls_context *ctx, struct buffer *out);
void tls_free(struct tls *t);

/* Hands over ciphertext, borrowed until tls_read said ERR_AGAIN or failed. */
void tls_feed(struct tls *t, const char *p, size_t n);
/* Goes on with the handshake and reads up to CAP bytes, *N of them. ERR_AGAIN: more ciphertext is
 * needed; ERR_NOT_FOUND: the client has ended its side; ERR_AUTH: it broke the protocol, and OUT
 * may hold an alert. */
enum err tls_read(struct tls *t, char *dst, size_t cap, size_t *n) MUST_CHECK;
/* ERR_WRONG_STATE before the handshake is complete, ERR_NOMEM. */
enum err tls_write(struct tls *t, const char *p, size_t n) MUST_CHECK;
/* Appends close_notify to OUT. */
void tls_end(struct tls *t);
bool tls_established(const struct tls *t);
/* Whether the client chose HTTP/2 (RFC 7301). */
bool tls_is_h2(const struct tls *t);

#endif
