#include "wireguard/handshake_job.h"

static enum err read_sender(struct wg_job *j)
{
	struct read_initiation *init = &j->init;

	noise_start_wireguard(&init->noise, j->our_public);
	memcpy(init->their_ephemeral, j->msg + INITIATION_EPHEMERAL_AT, KEY_LEN);
	init->their_index = load_le32(j->msg + INITIATION_SENDER_AT);
	return noise_read_static(&init->noise, j->our_secret, j->msg + INITIATION_EPHEMERAL_AT,
	                         init->their_public);
}

static enum err share(struct wg_job *j)
{
	enum err e = ERR_OK;

	if (!j->has_shared)
		e = x25519(j->static_static, j->our_secret, j->init.their_public);
	j->has_shared = e == ERR_OK;
	return e;
}

static enum err prove(struct wg_job *j)
{
	uint8_t payload[TIMESTAMP_LEN + NOISE_TAG_LEN];
	enum err e;

	if (j->opened)
		return ERR_OK;
	e = share(j);
	if (e != ERR_OK)
		return e;
	memcpy(payload, j->msg + INITIATION_TIMESTAMP_AT, sizeof(payload));
	e = noise_read_payload(&j->init.noise, j->static_static, payload, TIMESTAMP_LEN);
	if (e == ERR_OK) {
		memcpy(j->init.timestamp, payload, TIMESTAMP_LEN);
		j->opened = true;
	}
	return e;
}

static enum err answer(struct wg_job *j)
{
	const struct noise_second keys = { .ephemeral = j->ephemeral,
		                           .their_ephemeral = j->init.their_ephemeral,
		                           .their_public = j->init.their_public,
		                           .psk = j->psk };
	struct noise n;
	enum err e = prove(j);

	if (e != ERR_OK)
		return e;
	if (memcmp(j->init.timestamp, j->newest, TIMESTAMP_LEN) <= 0)
		return ERR_AUTH; /* a replay: not worth the rest */
	n = j->init.noise;
	e = noise_write_second(&n, &keys, j->response + RESPONSE_EPHEMERAL_AT, 0);
	if (e == ERR_OK)
		noise_split(&n, j->initiator_key, j->responder_key);
	wipe(&n, sizeof(n));
	return e;
}

static enum err complete(struct wg_job *j)
{
	const struct noise_second keys = { .ephemeral = j->ephemeral,
		                           .our_secret = j->our_secret,
		                           .psk = j->psk };
	enum err e = noise_read_second(&j->init.noise, &keys, j->msg + RESPONSE_EPHEMERAL_AT, 0);

	if (e == ERR_OK)
		noise_split(&j->init.noise, j->initiator_key, j->responder_key);
	return e;
}

void wg_job_run(struct wg_job *j)
{
	switch (j->step) {
	case WG_JOB_READ:
		j->result = read_sender(j);
		break;
	case WG_JOB_PROVE:
		j->result = prove(j);
		break;
	case WG_JOB_ANSWER:
		j->result = answer(j);
		break;
	case WG_JOB_COMPLETE:
		j->result = complete(j);
		break;
	case WG_JOB_SHARE:
		j->result = share(j);
		break;
	}
}
