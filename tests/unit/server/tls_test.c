/* TLS: OpenSSL's client against the server, certificates that do not fit, and reloading. */
#include "web_fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

static char answer[BIG + 4096];
static char why[512];

struct files {
	char dir[64], cert[128], key[128];
};

/* A self-signed certificate for NAME in CERT, its key in KEY; NULL: not written. */
static void write_pair(const char *cert, const char *key, const char *name)
{
	EVP_PKEY *pkey = EVP_EC_gen("P-256");
	X509 *x = X509_new();
	X509_NAME *subject = X509_get_subject_name(x);
	FILE *f;

	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
	X509_gmtime_adj(X509_getm_notBefore(x), 0);
	X509_gmtime_adj(X509_getm_notAfter(x), 3600);
	X509_set_pubkey(x, pkey);
	X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1,
	                           0);
	X509_set_issuer_name(x, subject);
	assert_true(X509_sign(x, pkey, EVP_sha256()) > 0);
	if (cert) {
		f = fopen(cert, "w");
		assert_int_equal(PEM_write_X509(f, x), 1);
		fclose(f);
	}
	if (key) {
		f = fopen(key, "w");
		assert_int_equal(PEM_write_PrivateKey(f, pkey, NULL, NULL, 0, NULL, NULL), 1);
		fclose(f);
	}
	X509_free(x);
	EVP_PKEY_free(pkey);
}

static void write_text(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	fputs(text, f);
	fclose(f);
}

static void files_begin(struct files *t)
{
	strcpy(t->dir, "/tmp/warren-tls-XXXXXX");
	assert_non_null(mkdtemp(t->dir));
	snprintf(t->cert, sizeof(t->cert), "%s/cert.pem", t->dir);
	snprintf(t->key, sizeof(t->key), "%s/key.pem", t->dir);
	write_pair(t->cert, t->key, "first");
}

static void files_end(struct files *t)
{
	unlink(t->cert);
	unlink(t->key);
	rmdir(t->dir);
}

struct client {
	struct fixture *f;
	int fd;
	SSL_CTX *ctx;
	SSL *ssl;
};

/* ALPN in wire form, or NULL. VERSION: the highest. Returns whether the handshake came about. */
static bool client_begin(struct client *c, struct fixture *f, const char *alpn, int version)
{
	int n = 0;

	c->f = f;
	c->fd = fixture_connect(f);
	c->ctx = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_max_proto_version(c->ctx, version);
	SSL_CTX_set_security_level(c->ctx, 0);
	c->ssl = SSL_new(c->ctx);
	if (alpn)
		SSL_set_alpn_protos(c->ssl, (const unsigned char *)alpn, (unsigned)strlen(alpn));
	assert_int_equal(fcntl(c->fd, F_SETFL, O_NONBLOCK), 0);
	SSL_set_fd(c->ssl, c->fd);
	for (int i = 0; i < 50 && n != 1; i++) {
		n = SSL_connect(c->ssl);
		if (n != 1 && SSL_get_error(c->ssl, n) != SSL_ERROR_WANT_READ)
			break;
		fixture_turn(f);
	}
	ERR_clear_error();
	return n == 1;
}

static void client_end(struct client *c)
{
	SSL_free(c->ssl);
	SSL_CTX_free(c->ctx);
	close(c->fd);
	fixture_turn(c->f);
}

/* Sends TEXT; what came back is in ANSWER. False: the server has ended the connection in order. */
static bool client_talk(struct client *c, const char *text, size_t len)
{
	size_t got = 0;
	int n = 0, e = SSL_ERROR_NONE;

	if (len)
		assert_int_equal(SSL_write(c->ssl, text, (int)len), (int)len);
	for (int idle = 0; idle < 3 && e != SSL_ERROR_ZERO_RETURN; idle = n > 0 ? 0 : idle + 1) {
		fixture_turn(c->f);
		n = SSL_read(c->ssl, answer + got, (int)(sizeof(answer) - 1 - got));
		e = SSL_get_error(c->ssl, n);
		got += n > 0 ? (size_t)n : 0;
	}
	answer[got] = '\0';
	ERR_clear_error();
	return e != SSL_ERROR_ZERO_RETURN;
}

static const char *subject_of(const struct client *c)
{
	static char name[64];
	X509 *x = SSL_get1_peer_certificate(c->ssl);

	X509_NAME_get_text_by_NID(X509_get_subject_name(x), NID_commonName, name, sizeof(name));
	X509_free(x);
	return name;
}

static struct fixture *begin(struct files *files, struct tls_context **ctx)
{
	struct fixture *f = fixture_new(10);

	files_begin(files);
	assert_int_equal(tls_context_new(files->cert, files->key, ctx, why, sizeof(why)), ERR_OK);
	web_set_tls(f->web, *ctx);
	return f;
}

static void end(struct fixture *f, struct files *files, struct tls_context *ctx)
{
	fixture_free(f);
	tls_context_free(ctx);
	files_end(files);
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"

static void speaks_http1_over_tls(void **state)
{
	static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };
	struct files files;
	struct tls_context *ctx;
	struct fixture *f = begin(&files, &ctx);
	struct client c;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
		assert_true(client_begin(&c, f, i ? "\x08http/1.1" : NULL, versions[i]));
		assert_int_equal(SSL_version(c.ssl), versions[i]);
		assert_true(client_talk(&c, GET("/now"), strlen(GET("/now"))));
		assert_non_null(strstr(answer, "HTTP/1.1 200 OK"));
		assert_false(f->http2);
		assert_true(client_talk(&c, GET("/big"), strlen(GET("/big"))));
		assert_true(strlen(answer) > BIG);
		assert_true(client_talk(&c, "GET /no", 7));
		/* Orderly: with close_notify. */
		assert_false(client_talk(&c, "w HTTP/1.0\r\n\r\n", 14));
		assert_non_null(strstr(answer, "200 OK"));
		client_end(&c);
		assert_int_equal(web_connections(f->web), 0);
	}
	/* The same port speaks plain HTTP, too. */
	c.fd = fixture_connect(f);
	fixture_talk(f, c.fd, GET("/now"), answer, sizeof(answer));
	assert_non_null(strstr(answer, "200 OK"));
	close(c.fd);
	end(f, &files, ctx);
}

static void alpn_chooses(void **state)
{
	struct files files;
	struct tls_context *ctx;
	struct fixture *f = begin(&files, &ctx);
	static const char preface[] = H2_PREFACE "\0\0\0\4\0\0\0\0\0"
	                              "\0\0\6\1\5\0\0\0\1\x82\x86\x84\x41\1h";
	struct client c;

	(void)state;
	assert_true(client_begin(&c, f, "\x08http/1.1\x02h2", TLS1_3_VERSION));
	assert_true(client_talk(&c, preface, sizeof(preface) - 1));
	assert_true(f->http2);
	assert_int_equal(f->requests, 1);
	client_end(&c);
	/* It has promised HTTP/2. */
	assert_true(client_begin(&c, f, "\x02h2", TLS1_2_VERSION));
	(void)client_talk(&c, GET("/now"), strlen(GET("/now")));
	assert_int_equal(f->requests, 1);
	client_end(&c);
	assert_false(client_begin(&c, f, "\x06spdy/1", TLS1_3_VERSION));
	client_end(&c);
	assert_int_equal(web_counts(f->web)->tls_failures, 1);
	/* Without ALPN, the preface tells. */
	assert_true(client_begin(&c, f, NULL, TLS1_3_VERSION));
	assert_true(client_talk(&c, preface, sizeof(preface) - 1));
	assert_int_equal(f->requests, 2);
	client_end(&c);
	assert_int_equal(web_connections(f->web), 0);
	end(f, &files, ctx);
}

static void what_is_refused(void **state)
{
	struct files files;
	struct tls_context *ctx;
	struct fixture *f = begin(&files, &ctx);
	struct client c;
	int fd;

	(void)state;
	assert_false(client_begin(&c, f, NULL, TLS1_1_VERSION));
	client_end(&c);
	fixture_run(f, 5);
	assert_int_equal(web_connections(f->web), 0);
	/* Noise that begins like TLS, and a broken record in the middle. */
	fd = fixture_connect(f);
	fixture_talk(f, fd, "\x16\x03\x01\x01\x01zzzzzzzzzzzzzzzzz", answer, sizeof(answer));
	assert_int_equal(f->web->open, 1); /* a record is not complete */
	close(fd);
	fd = fixture_connect(f);
	fixture_talk(f, fd, "\x16GET / HTTP/1.1\r\nHost: h\r\n\r\n", answer, sizeof(answer));
	shutdown(fd, SHUT_WR);
	fixture_turn(f);
	assert_int_equal(web_connections(f->web), 0);
	close(fd);
	assert_true(client_begin(&c, f, NULL, TLS1_3_VERSION));
	fixture_send(f, c.fd, "\x17\x03\x03\x00\x20zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz", 37);
	/* It is told why, and then hung up on. */
	assert_int_equal(f->web->conns->state, CONN_LINGERING);
	assert_int_equal(web_counts(f->web)->tls_failures, 3);
	client_end(&c);
	assert_int_equal(web_connections(f->web), 0);
	/* A handshake that does not go on. */
	f->web->deadlines.class[DEADLINE_HANDSHAKE].ms = 200;
	fd = fixture_connect(f);
	fixture_send(f, fd, "\x16\x03\x01\x01\x01z", 6);
	assert_int_equal(web_connections(f->web), 1);
	fixture_run(f, 20);
	fixture_send(f, fd, "z", 1);
	fixture_until(f, 0);
	close(fd);
	end(f, &files, ctx);
}

static void files_that_do_not_fit(void **state)
{
	struct tls_context *ctx;
	struct files t;
	char other[128], missing[128];

	(void)state;
	files_begin(&t);
	snprintf(other, sizeof(other), "%s/other.pem", t.dir);
	snprintf(missing, sizeof(missing), "%s/missing.pem", t.dir);
	write_pair(NULL, other, "other");
	assert_int_equal(tls_context_new(missing, t.key, &ctx, why, sizeof(why)), ERR_IO);
	assert_non_null(strstr(why, "missing.pem cannot be read: No such file"));
	assert_int_equal(tls_context_new(t.cert, missing, &ctx, why, sizeof(why)), ERR_IO);
	assert_non_null(strstr(why, "TLS key"));
	assert_int_equal(tls_context_new(t.cert, t.dir, &ctx, why, sizeof(why)), ERR_INVALID);
	assert_int_equal(tls_context_new(t.cert, other, &ctx, why, sizeof(why)), ERR_INVALID);
	assert_non_null(strstr(why, "does not belong to the certificate"));
	assert_int_equal(tls_context_new(t.key, t.key, &ctx, why, sizeof(why)), ERR_INVALID);
	assert_non_null(strstr(why, "no PEM certificate"));
	assert_int_equal(tls_context_new(t.cert, t.cert, &ctx, why, sizeof(why)), ERR_INVALID);
	assert_non_null(strstr(why, "no PEM private key"));
	write_text(other, "");
	assert_int_equal(tls_context_new(other, t.key, &ctx, why, sizeof(why)), ERR_INVALID);
	unlink(other);
	files_end(&t);
}

static void reloads(void **state)
{
	struct files files;
	struct tls_context *ctx;
	struct fixture *f = begin(&files, &ctx);
	struct client old, c;

	(void)state;
	assert_true(client_begin(&old, f, NULL, TLS1_3_VERSION));
	assert_string_equal(subject_of(&old), "first");
	write_pair(files.cert, files.key, "second");
	assert_int_equal(tls_context_reload(ctx, why, sizeof(why)), ERR_OK);
	assert_true(client_begin(&c, f, NULL, TLS1_3_VERSION));
	assert_string_equal(subject_of(&c), "second");
	client_end(&c);
	/* Half of a new pair is no pair: what works stays. */
	write_pair(files.cert, NULL, "third");
	assert_int_equal(tls_context_reload(ctx, why, sizeof(why)), ERR_INVALID);
	assert_non_null(strstr(why, "does not belong"));
	assert_true(client_begin(&c, f, NULL, TLS1_2_VERSION));
	assert_string_equal(subject_of(&c), "second");
	client_end(&c);
	assert_true(client_talk(&old, GET("/now"), strlen(GET("/now"))));
	assert_non_null(strstr(answer, "200 OK"));
	client_end(&old);
	end(f, &files, ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(speaks_http1_over_tls),
		cmocka_unit_test(alpn_chooses),
		cmocka_unit_test(what_is_refused),
		cmocka_unit_test(files_that_do_not_fit),
		cmocka_unit_test(reloads),
	};

	/* OpenSSL's client writes to sockets that the server has closed. */
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
