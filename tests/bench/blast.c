// SPDX-License-Identifier: GPL-2.0-or-later
/* Sends IPv4 packets as fast as the kernel takes them: `blast SECONDS FILE` (of CPU time) with a file of whole packets, each after its length
 * (16 bits, big-endian), sent in turn over a raw socket by sendmmsg. Prints how many were taken, in how many nanoseconds, and how many of
 * those this process had a CPU: on veth devices all that becomes of a packet, up to its receiver, is done in the sender's own time. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/ip.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { BATCH = 64, LARGEST = 1500, MOST = 8192 };

static unsigned char packets[MOST][LARGEST];
static size_t lengths[MOST];

static long long now(clockid_t clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int main(int argc, char **argv)
{
	unsigned char head[2];
	size_t count = 0, next = 0;
	FILE *file = argc == 3 ? fopen(argv[2], "rb") : NULL;
	if (!file) {
		fprintf(stderr, "usage: blast SECONDS FILE\n");
		return 2;
	}
	while (count < MOST && fread(head, 1, 2, file) == 2) {
		lengths[count] = head[0] << 8 | head[1];
		if (lengths[count] > LARGEST || fread(packets[count], 1, lengths[count], file) != lengths[count])
			return 2;
		count++;
	}
	int sock = socket(AF_INET, SOCK_RAW, IPPROTO_RAW), size = 4 << 20;
	if (sock < 0 || !count)
		return 1;
	setsockopt(sock, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
	struct mmsghdr messages[BATCH];
	struct iovec parts[BATCH];
	struct sockaddr_in to[BATCH];
	long long begin = now(CLOCK_MONOTONIC), before = now(CLOCK_PROCESS_CPUTIME_ID), used = 0, sent = 0;
	while (used < atof(argv[1]) * 1e9) {
		memset(messages, 0, sizeof messages);
		for (int i = 0; i < BATCH; i++, next = (next + 1) % count) {
			parts[i] = (struct iovec){packets[next], lengths[next]};
			to[i] = (struct sockaddr_in){.sin_family = AF_INET};
			memcpy(&to[i].sin_addr, packets[next] + 16, 4);
			messages[i].msg_hdr = (struct msghdr){.msg_name = &to[i], .msg_namelen = sizeof to[i], .msg_iov = &parts[i], .msg_iovlen = 1};
		}
		int taken = sendmmsg(sock, messages, BATCH, 0);
		if (taken > 0)
			sent += taken;
		used = now(CLOCK_PROCESS_CPUTIME_ID) - before;
	}
	printf("%lld %lld %lld\n", sent, now(CLOCK_MONOTONIC) - begin, used);
	return 0;
}
