/* Offsets and values in IP, TCP and UDP headers, for this module's own files. */
#ifndef PACKET_HEADERS_H
#define PACKET_HEADERS_H

enum { PROTOCOL_TCP = 6, PROTOCOL_UDP = 17 };

/* RFC 791 section 3.1 */
enum {
	V4_HEADER = 20,
	V4_TOS = 1,
	V4_LENGTH = 2,
	V4_ID = 4,
	V4_FRAGMENT = 6,
	V4_PROTOCOL = 9,
	V4_CHECKSUM = 10,
	V4_SOURCE = 12
};
#define V4_DF        0x4000
#define V4_MF_OFFSET 0x3fff /* set in fragments */

/* RFC 8200 section 3 */
enum { V6_HEADER = 40, V6_LENGTH = 4, V6_NEXT = 6, V6_SOURCE = 8 };

/* RFC 9293 section 3.1 */
enum {
	TCP_HEADER = 20,
	TCP_SEQ = 4,
	TCP_ACK_SEQ = 8,
	TCP_OFFSET = 12,
	TCP_FLAGS = 13,
	TCP_WINDOW = 14,
	TCP_CHECKSUM = 16,
	TCP_URGENT = 18
};
enum {
	TCP_FIN = 0x01,
	TCP_SYN = 0x02,
	TCP_RST = 0x04,
	TCP_PSH = 0x08,
	TCP_ACK = 0x10,
	TCP_ECE = 0x40,
	TCP_CWR = 0x80
};

/* RFC 768 */
enum { UDP_HEADER = 8, UDP_LENGTH = 4, UDP_CHECKSUM = 6 };

#endif
