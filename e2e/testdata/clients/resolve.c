/* Asks the resolver of the C library it is linked with, and prints a line for each
 * argument: "ARGUMENT = ADDRESS ..." for a name, "ARGUMENT = NAME" for an address,
 * "srv:NAME = RCODE COUNT" for the number of records, "... ! REASON" for an error. */
#include <arpa/inet.h>
#include <netdb.h>
#include <resolv.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static void name(const char *arg)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *all, *ai;
	char text[INET6_ADDRSTRLEN];
	int err = getaddrinfo(arg, NULL, &hints, &all);

	if (err) {
		printf("%s ! %s\n", arg, err == EAI_NONAME ? "none" : err == EAI_AGAIN ? "again" : gai_strerror(err));
		return;
	}
	printf("%s =", arg);
	for (ai = all; ai; ai = ai->ai_next) {
		void *addr = ai->ai_family == AF_INET ? (void *)&((struct sockaddr_in *)ai->ai_addr)->sin_addr
						      : (void *)&((struct sockaddr_in6 *)ai->ai_addr)->sin6_addr;
		printf(" %s", inet_ntop(ai->ai_family, addr, text, sizeof text));
	}
	printf("\n");
	freeaddrinfo(all);
}

static void address(const char *arg)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM}, *ai;
	char host[256];
	int err = getaddrinfo(arg, NULL, &hints, &ai);

	if (!err)
		err = getnameinfo(ai->ai_addr, ai->ai_addrlen, host, sizeof host, NULL, 0, NI_NAMEREQD);
	if (err)
		printf("%s ! %s\n", arg, err == EAI_NONAME ? "none" : gai_strerror(err));
	else
		printf("%s = %s\n", arg, host);
}

static void records(const char *arg, int type)
{
	unsigned char reply[4096];
	int n = res_query(strchr(arg, ':') + 1, 1, type, reply, sizeof reply);

	if (n < 12)
		printf("%s ! none\n", arg);
	else
		printf("%s = %d %d\n", arg, reply[3] & 15, reply[6] << 8 | reply[7]);
}

int main(int argc, char **argv)
{
	struct in6_addr addr;

	for (int i = 1; i < argc; i++) {
		if (!strncmp(argv[i], "srv:", 4))
			records(argv[i], 33);
		else if (!strncmp(argv[i], "txt:", 4))
			records(argv[i], 16);
		else if (inet_pton(AF_INET, argv[i], &addr) == 1 || inet_pton(AF_INET6, argv[i], &addr) == 1)
			address(argv[i]);
		else
			name(argv[i]);
	}
	return 0;
}
