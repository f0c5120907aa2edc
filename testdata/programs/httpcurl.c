/* httpcurl URL: what httpgo does, with libcurl. */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static void uuid(char *s)
{
	unsigned char b[16];
	if (getrandom(b, sizeof b, 0) != sizeof b)
		abort();
	for (int i = 0; i < 16; i++)
		s += sprintf(s, "%02x", b[i]);
}

static int ask(CURL *c, const char *base, const char *path, const char *body)
{
	char url[500];
	snprintf(url, sizeof url, "%s%s", base, path);
	curl_easy_setopt(c, CURLOPT_URL, url);
	if (body)
		curl_easy_setopt(c, CURLOPT_POSTFIELDS, body);
	else
		curl_easy_setopt(c, CURLOPT_HTTPGET, 1L);
	CURLcode e = curl_easy_perform(c);
	if (e)
		printf("error %s\n", curl_easy_strerror(e));
	return e != 0;
}

int main(int argc, char **argv)
{
	char id[33], body[200], path[50];
	int bad = 0;
	if (argc < 2)
		return 4;
	setvbuf(stdout, NULL, _IOLBF, 0);
	uuid(id);
	printf("uuid %s\n", id);
	curl_global_init(CURL_GLOBAL_ALL);
	CURL *c = curl_easy_init();
	bad |= ask(c, argv[1], "/now", NULL);
	uuid(id);
	snprintf(body, sizeof body, "{\"id\":\"%s\",\"customer\":\"ada@example.com\"}", id);
	bad |= ask(c, argv[1], "/echo", body);
	for (int i = 0; i < 3; i++) {
		snprintf(path, sizeof path, "/item/%d", i);
		bad |= ask(c, argv[1], path, NULL);
	}
	curl_easy_cleanup(c);
	return bad;
}
