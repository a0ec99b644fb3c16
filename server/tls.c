#include "server/tls.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

/* Forward secrecy and AEAD only (RFC 9325 section 4.2); TLS 1.3 has nothing else. */
#define CIPHERS_1_2 "ECDHE+AESGCM:ECDHE+CHACHA20"
#define GROUPS      "X25519:P-256:P-384"

struct tls_context {
	char *cert_file, *key_file;
	SSL_CTX *ssl;
	BIO_METHOD *bio;
};

struct tls {
	SSL *ssl;
	struct buffer *out;
	const char *in; /* what tls_feed handed over */
	size_t in_len;
};

/* --- ciphertext ----------------------------------------------------------------------------- */

/* A BIO between the caller's input and output: it copies once and holds nothing, so that an idle
 * connection has no buffers here. */
static int bio_read(BIO *bio, char *dst, size_t cap, size_t *n)
{
	struct tls *t = BIO_get_data(bio);

	BIO_clear_retry_flags(bio);
	if (t->in_len == 0) {
		BIO_set_retry_read(bio);
		return 0;
	}
	*n = t->in_len < cap ? t->in_len : cap;
	memcpy(dst, t->in, *n);
	t->in += *n;
	t->in_len -= *n;
	return 1;
}

static int bio_write(BIO *bio, const char *p, size_t n, size_t *done)
{
	struct tls *t = BIO_get_data(bio);

	BIO_clear_retry_flags(bio);
	buffer_add(t->out, p, n);
	*done = n;
	return !t->out->failed;
}

static long bio_ctrl(BIO *bio, int command, long arg, void *ptr)
{
	(void)bio;
	(void)arg;
	(void)ptr;
	return command == BIO_CTRL_FLUSH;
}

/* --- context -------------------------------------------------------------------------------- */

static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                           const unsigned char *in, unsigned in_len, void *arg)
{
	static const unsigned char ours[] = "\x02h2\x08http/1.1";
	unsigned char *chosen;

	(void)ssl;
	(void)arg;
	/* RFC 7301 section 3.2: no common protocol is fatal. */
	if (SSL_select_next_proto(&chosen, out_len, ours, sizeof(ours) - 1, in, in_len) !=
	    OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*out = chosen;
	return SSL_TLSEXT_ERR_OK;
}

static SSL_CTX *make_ssl_context(void)
{
	SSL_CTX *ssl = SSL_CTX_new(TLS_server_method());

	if (!ssl)
		return NULL;
	if (!SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION) ||
	    !SSL_CTX_set_cipher_list(ssl, CIPHERS_1_2) || !SSL_CTX_set1_groups_list(ssl, GROUPS)) {
		SSL_CTX_free(ssl);
		return NULL;
	}
	SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
	                         SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA |
	                         SSL_OP_IGNORE_UNEXPECTED_EOF);
	/* Tickets make resumption stateless: no session is kept here. */
	SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_alpn_select_cb(ssl, choose_protocol, NULL);
	return ssl;
}

/* OpenSSL's reason for the last failure; the whole queue is emptied. */
static const char *reason(void)
{
	unsigned long e = ERR_peek_last_error();
	const char *text = e ? ERR_reason_error_string(e) : NULL;

	ERR_clear_error();
	return text ? text : "unknown reason";
}

static enum err check_readable(const char *file, const char *what, char *why, size_t cap)
{
	FILE *f = fopen(file, "re");

	if (!f) {
		snprintf(why, cap, "the %s %s cannot be read: %s", what, file,
		         strerror(errno));
		return ERR_IO;
	}
	(void)fclose(f);
	return ERR_OK;
}

/* A server cannot ask for a passphrase: an encrypted key is an error, not a prompt. */
static int no_passphrase(char *buf, int size, int writing, void *arg)
{
	(void)buf;
	(void)size;
	(void)writing;
	(void)arg;
	return -1;
}

static enum err load(const struct tls_context *ctx, SSL_CTX *ssl, char *why, size_t cap)
{
	enum err e = check_readable(ctx->cert_file, "TLS certificate", why, cap);

	if (!e)
		e = check_readable(ctx->key_file, "TLS key", why, cap);
	if (e)
		return e;
	SSL_CTX_set_default_passwd_cb(ssl, no_passphrase);
	ERR_clear_error();
	if (SSL_CTX_use_certificate_chain_file(ssl, ctx->cert_file) != 1) {
		snprintf(why, cap, "%s holds no PEM certificate that can be used: %s",
		         ctx->cert_file, reason());
		return ERR_INVALID;
	}
	if (SSL_CTX_use_PrivateKey_file(ssl, ctx->key_file, SSL_FILETYPE_PEM) != 1) {
		if (ERR_GET_REASON(ERR_peek_last_error()) == X509_R_KEY_VALUES_MISMATCH)
			snprintf(why, cap, "the TLS key %s does not belong to the certificate %s",
			         ctx->key_file, ctx->cert_file);
		else
			snprintf(why, cap, "%s holds no PEM private key that can be used: %s",
			         ctx->key_file, reason());
		ERR_clear_error();
		return ERR_INVALID;
	}
	if (SSL_CTX_check_private_key(ssl) != 1) {
		snprintf(why, cap, "the TLS key %s does not belong to the certificate %s: %s",
		         ctx->key_file, ctx->cert_file, reason());
		return ERR_INVALID;
	}
	return ERR_OK;
}

enum err tls_context_reload(struct tls_context *ctx, char *why, size_t cap)
{
	SSL_CTX *ssl = make_ssl_context();
	enum err e;

	if (!ssl) {
		snprintf(why, cap, "TLS cannot be set up: %s", reason());
		return ERR_NOMEM;
	}
	e = load(ctx, ssl, why, cap);
	if (e) {
		SSL_CTX_free(ssl);
		return e;
	}
	/* Connections that use the old one hold it themselves. */
	SSL_CTX_free(ctx->ssl);
	ctx->ssl = ssl;
	return ERR_OK;
}

static BIO_METHOD *make_bio_method(void)
{
	BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "warren");

	if (m && BIO_meth_set_read_ex(m, bio_read) && BIO_meth_set_write_ex(m, bio_write) &&
	    BIO_meth_set_ctrl(m, bio_ctrl))
		return m;
	BIO_meth_free(m);
	return NULL;
}

enum err tls_context_new(const char *cert_file, const char *key_file, struct tls_context **out,
                         char *why, size_t cap)
{
	struct tls_context *ctx = calloc(1, sizeof(*ctx));
	enum err e = ERR_NOMEM;

	if (ctx) {
		ctx->cert_file = strdup(cert_file);
		ctx->key_file = strdup(key_file);
		ctx->bio = make_bio_method();
	}
	if (ctx && ctx->cert_file && ctx->key_file && ctx->bio)
		e = tls_context_reload(ctx, why, cap);
	else
		snprintf(why, cap, "out of memory");
	if (e) {
		tls_context_free(ctx);
		return e;
	}
	*out = ctx;
	return ERR_OK;
}

void tls_context_free(struct tls_context *ctx)
{
	if (!ctx)
		return;
	SSL_CTX_free(ctx->ssl);
	BIO_meth_free(ctx->bio);
	free(ctx->cert_file);
	free(ctx->key_file);
	free(ctx);
}

/* --- connection ----------------------------------------------------------------------------- */

struct tls *tls_new(struct tls_context *ctx, struct buffer *out)
{
	struct tls *t = calloc(1, sizeof(*t));
	BIO *bio = BIO_new(ctx->bio);

	if (t)
		t->ssl = SSL_new(ctx->ssl);
	if (!t || !bio || !t->ssl) {
		BIO_free(bio);
		tls_free(t);
		return NULL;
	}
	t->out = out;
	BIO_set_data(bio, t);
	BIO_set_init(bio, 1);
	SSL_set_bio(t->ssl, bio, bio);
	SSL_set_accept_state(t->ssl);
	return t;
}

void tls_free(struct tls *t)
{
	if (!t)
		return;
	SSL_free(t->ssl);
	free(t);
}

void tls_feed(struct tls *t, const char *p, size_t n)
{
	t->in = p;
	t->in_len = n;
}

enum err tls_read(struct tls *t, char *dst, size_t cap, size_t *n)
{
	*n = 0;
	ERR_clear_error();
	if (SSL_read_ex(t->ssl, dst, cap, n) == 1)
		return ERR_OK;
	switch (SSL_get_error(t->ssl, 0)) {
	case SSL_ERROR_WANT_READ: return ERR_AGAIN;
	case SSL_ERROR_ZERO_RETURN: return ERR_NOT_FOUND;
	default: break;
	}
	ERR_clear_error();
	return ERR_AUTH;
}

enum err tls_write(struct tls *t, const char *p, size_t n)
{
	size_t done;

	if (!SSL_is_init_finished(t->ssl))
		return ERR_WRONG_STATE;
	ERR_clear_error();
	/* The BIO takes all there is memory for. */
	if (n == 0 || SSL_write_ex(t->ssl, p, n, &done) == 1)
		return ERR_OK;
	ERR_clear_error();
	return ERR_NOMEM;
}

void tls_end(struct tls *t)
{
	ERR_clear_error();
	if (SSL_is_init_finished(t->ssl))
		(void)SSL_shutdown(t->ssl);
	ERR_clear_error();
}

bool tls_established(const struct tls *t)
{
	return SSL_is_init_finished(t->ssl);
}

bool tls_is_h2(const struct tls *t)
{
	const unsigned char *name;
	unsigned len;

	SSL_get0_alpn_selected(t->ssl, &name, &len);
	return len == 2 && memcmp(name, "h2", 2) == 0;
}
