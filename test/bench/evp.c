/*
 * evp.c
 *		A bare OpenSSL loop that opens AES-256-GCM values of 28 bytes with a kept
 *		context: the floor that opening sealed values is measured against.
 *
 * usage: evp COUNT; prints nanoseconds a value.
 */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int
main(int argc, char **argv)
{
	long count = argc > 1 ? atol(argv[1]) : 1000000;
	unsigned char key[32] = {1}, iv[12] = {2}, aad[47] = {3}, plain[28] = {4}, sealed[28], tag[16];
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	struct timespec from, to;
	int len;

	if (EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, iv) != 1 ||
		EVP_EncryptUpdate(ctx, NULL, &len, aad, sizeof(aad)) != 1 ||
		EVP_EncryptUpdate(ctx, sealed, &len, plain, sizeof(plain)) != 1 ||
		EVP_EncryptFinal_ex(ctx, sealed + len, &len) != 1 ||
		EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, 16, tag) != 1 ||
		EVP_DecryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, iv) != 1)
		return 1;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
	for (long i = 0; i < count; i++)
		if (EVP_DecryptInit_ex(ctx, NULL, NULL, NULL, iv) != 1 ||
			EVP_DecryptUpdate(ctx, NULL, &len, aad, sizeof(aad)) != 1 ||
			EVP_DecryptUpdate(ctx, plain, &len, sealed, sizeof(sealed)) != 1 ||
			EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, 16, tag) != 1 ||
			EVP_DecryptFinal_ex(ctx, plain + len, &len) != 1)
			return 1;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
	printf("%.1f\n",
		   ((double) (to.tv_sec - from.tv_sec) * 1e9 + (double) (to.tv_nsec - from.tv_nsec)) /
			   (double) count);
	EVP_CIPHER_CTX_free(ctx);
	return 0;
}
