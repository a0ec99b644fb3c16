/* warren genkey, warren pubkey: as wg does. */
#include "options.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crypto/crypto.h"
#include "linux/entropy.h"

static const struct option_spec no_options[] = { { 0 } };

static int print_key(const uint8_t key[static X25519_LEN])
{
	char line[BASE64_LEN(X25519_LEN) + 1];
	struct text t = TEXT_IN(line);
	int rc;

	text_base64(&t, key, X25519_LEN);
	rc = puts(line) >= 0 && fflush(stdout) == 0 ? EXIT_DONE : EXIT_FAILED;
	wipe(line, sizeof(line));
	if (rc)
		return fail(rc, "genkey: cannot write to standard output");
	return EXIT_DONE;
}

static int run_genkey(int argc, char **argv)
{
	uint8_t key[X25519_LEN];
	struct stat st;
	int code;

	if (!options_parse(&command_genkey, no_options, argc, argv, NULL, &code))
		return code;
	if (fstat(STDOUT_FILENO, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & S_IRWXO))
		fputs("warren: warning: writing a private key to a file that everybody may read\n",
		      stderr);
	x25519_generate(key, &linux_rng);
	code = print_key(key);
	wipe(key, sizeof(key));
	return code;
}

static int run_pubkey(int argc, char **argv)
{
	char line[128];
	uint8_t key[X25519_LEN], pub[X25519_LEN];
	size_t n;
	int code;

	if (!options_parse(&command_pubkey, no_options, argc, argv, NULL, &code))
		return code;
	n = fread(line, 1, sizeof(line), stdin);
	while (n && (line[n - 1] == '\n' || line[n - 1] == '\r' || line[n - 1] == ' '))
		n--;
	if (base64_decode_exact(line, n, key, sizeof(key))) {
		wipe(line, sizeof(line));
		return fail(EXIT_FAILED, "pubkey: standard input is not a private key "
		                         "(44 characters of base64, as genkey prints)");
	}
	x25519_public(pub, key);
	wipe(key, sizeof(key));
	wipe(line, sizeof(line));
	return print_key(pub);
}

const struct command command_genkey = { "genkey", "", "Print a new private key.", run_genkey };
const struct command command_pubkey = {
	"pubkey", "", "Print the public key of the private key on standard input.", run_pubkey
};
