/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "quota/hash.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>

struct state {
    uint64_t a, b, c, d;
};

static uint64_t rotate_left(uint64_t word, unsigned int bits)
{
    return word << bits | word >> (64 - bits);
}

static void state_mix(struct state *state, unsigned int rounds)
{
    while (rounds-- > 0) {
        state->a += state->b;
        state->c += state->d;
        state->b = rotate_left(state->b, 13) ^ state->a;
        state->d = rotate_left(state->d, 16) ^ state->c;
        state->a = rotate_left(state->a, 32);

        state->c += state->b;
        state->a += state->d;
        state->b = rotate_left(state->b, 17) ^ state->c;
        state->d = rotate_left(state->d, 21) ^ state->a;
        state->c = rotate_left(state->c, 32);
    }
}

static void state_absorb(struct state *state, uint64_t word)
{
    state->d ^= word;
    state_mix(state, 2);
    state->a ^= word;
}

int hash_key_init_random(struct hash_key *key)
{
    /* Up to 256 bytes come whole or not at all, and no signal cuts them short. */
    return getrandom(key->words, sizeof(key->words), 0) < 0 ? -errno : 0;
}

uint64_t hash_bytes(const struct hash_key *key, const void *data, size_t length)
{
    /* The four constants and the rounds are those of the SipHash paper (Aumasson, Bernstein). */
    struct state state = {
        .a = key->words[0] ^ UINT64_C(0x736f6d6570736575),
        .b = key->words[1] ^ UINT64_C(0x646f72616e646f6d),
        .c = key->words[0] ^ UINT64_C(0x6c7967656e657261),
        .d = key->words[1] ^ UINT64_C(0x7465646279746573),
    };
    const unsigned char *bytes = data;
    size_t left = length;
    uint64_t word;

    for (; left >= sizeof(word); left -= sizeof(word), bytes += sizeof(word)) {
        memcpy(&word, bytes, sizeof(word));
        state_absorb(&state, le64toh(word));
    }
    word = 0;
    memcpy(&word, bytes, left);
    state_absorb(&state, le64toh(word) | (uint64_t)length << 56);
    state.c ^= 0xff;
    state_mix(&state, 4);
    return state.a ^ state.b ^ state.c ^ state.d;
}
